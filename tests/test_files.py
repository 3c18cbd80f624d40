"""Tests of atomic folders, locks and stale partial folders."""

import io
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from cnn_classifier.errors import StorageError, first_line, single_line
from cnn_classifier.files import PARTIAL, atomic_dir, file_lock, is_locked, remove_stale_partials, write_csv, write_json


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no umask")
def test_written_files_and_folders_respect_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        with file_lock(tmp_path / "run"), atomic_dir(tmp_path / "run") as folder:
            write_csv(folder / "rows.csv", [("a",)])
            write_json(folder / "values.json", {})
    finally:
        os.umask(previous)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    assert modes == {"run": "0o750", "run.lock": "0o640", "rows.csv": "0o640", "values.json": "0o640"}


def test_names_that_create_private_files_are_not_used() -> None:
    private = ("NamedTemporaryFile", "mkstemp", "save_file(")
    for path in (Path(__file__).parents[1] / "cnn_classifier").rglob("*.py"):
        assert not [name for name in private if name in path.read_text(encoding="utf-8")], path


def test_second_lock_holder_waits_and_prints_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr, is_created = io.StringIO(), Event()
    monkeypatch.setattr(sys, "stderr", stderr)

    def second() -> bool:
        with file_lock(tmp_path / "photos"):
            return is_created.is_set()

    with ThreadPoolExecutor() as pool:
        with file_lock(tmp_path / "photos"):
            waiting = pool.submit(second)
            while not stderr.getvalue().endswith("\n"):
                assert not waiting.done()
                time.sleep(0.01)
            is_created.set()
        assert waiting.result()
    assert stderr.getvalue() == f"waiting for another run that is creating {tmp_path / 'photos'}\n"


def test_free_lock_is_acquired_without_a_message(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with file_lock(tmp_path / "photos"):
            pass
    assert capfd.readouterr().err == ""


def test_stale_partials_are_removed_unless_locked(tmp_path: Path) -> None:
    locked, stale, done = (tmp_path / name for name in (".partial-making", ".partial-killed", "done"))
    for folder in (locked, stale, done):
        folder.mkdir()
        (folder / "image").touch()
    with file_lock(tmp_path / "killed"):
        pass
    with file_lock(tmp_path / "making"):
        assert [is_locked(folder) for folder in (locked, stale, done)] == [True, False, False]
        remove_stale_partials(tmp_path)
        assert [folder.exists() for folder in (locked, stale, done)] == [True, False, True]
    assert not is_locked(locked)


def test_atomic_dir_appears_only_when_the_block_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "photos"
    stale = path.with_name(f"{PARTIAL}photos")
    stale.mkdir(parents=True)
    (stale / "stale.jpg").touch()
    path.mkdir()  # an empty folder is replaced
    with atomic_dir(path) as partial:
        assert list(partial.iterdir()) == []
        (partial / "photo.jpg").touch()
        assert list(path.iterdir()) == []
    assert [file.name for file in path.iterdir()] == ["photo.jpg"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("wrong"), OSError(28, "No space left on device")])
def test_atomic_dir_leaves_no_files_when_the_block_raises(tmp_path: Path, error: Exception) -> None:
    message = "wrong" if isinstance(error, ValueError) else r"^Cannot write .*photos: No space left on device\."

    def write_and_raise() -> None:
        with atomic_dir(tmp_path / "photos") as partial:
            (partial / "photo.jpg").touch()
            raise error

    with pytest.raises(ValueError if isinstance(error, ValueError) else StorageError, match=message):
        write_and_raise()
    assert list(tmp_path.iterdir()) == []


def test_atomic_dir_does_not_replace_a_folder_with_files(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").touch()
    with pytest.raises(StorageError, match=r"^Cannot write .*photos: "), atomic_dir(tmp_path / "photos"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "mine.jpg"]


def test_error_messages_are_shortened_to_one_line() -> None:
    error = ValueError("first\n  second\tthird")
    assert first_line(error) == "first"
    assert single_line(error) == "first second third"
    assert first_line(MemoryError()) == "MemoryError"
