"""What all runs share is made by one of them; the others wait, and say so."""

import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from cnn_classifier.files import file_lock, is_locked, remove_stale_partials


def test_the_second_run_waits_for_the_first_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, made = io.StringIO(), Event()
    monkeypatch.setattr(sys, "stderr", said)

    def second() -> bool:
        with file_lock(tmp_path / "photos"):
            return made.is_set()

    with ThreadPoolExecutor() as pool:
        with file_lock(tmp_path / "photos"):
            waiting = pool.submit(second)
            while not said.getvalue().endswith("\n"):
                assert not waiting.done()
                time.sleep(0.01)
            made.set()
        assert waiting.result()
    assert said.getvalue() == f"waiting for another run that is creating {tmp_path / 'photos'}\n"


def test_whoever_comes_alone_does_not_wait(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with file_lock(tmp_path / "photos"):
            pass
    assert capfd.readouterr().err == ""


def test_only_what_nobody_makes_is_abandoned(tmp_path: Path) -> None:
    making, killed, done = (tmp_path / name for name in (".partial-making", ".partial-killed", "done"))
    for folder in (making, killed, done):
        folder.mkdir()
        (folder / "picture").touch()
    with file_lock(tmp_path / "killed"):
        pass
    with file_lock(tmp_path / "making"):
        assert [is_locked(folder) for folder in (making, killed, done)] == [True, False, False]
        remove_stale_partials(tmp_path)
        assert [folder.exists() for folder in (making, killed, done)] == [True, False, True]
    assert not is_locked(making)
