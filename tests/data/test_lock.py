"""What all runs share is made by one of them; the others wait, and say so."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from cnn_classifier.data.lock import locked


def test_the_second_run_waits_for_the_first_and_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said, made = "", Event()

    def second() -> bool:
        with locked(tmp_path / "photos"):
            return made.is_set()

    with ThreadPoolExecutor() as pool:
        with locked(tmp_path / "photos"):
            waiting = pool.submit(second)
            while not said:
                said = capfd.readouterr().err
            made.set()
        assert waiting.result()
    assert said == f"waiting for another run that is making {tmp_path / 'photos'}\n"


def test_whoever_comes_alone_does_not_wait(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with locked(tmp_path / "photos"):
            pass
    assert capfd.readouterr().err == ""
