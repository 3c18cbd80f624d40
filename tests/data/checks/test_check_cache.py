"""Tests of the SQLite check cache: invalidation, and missing, read-only, locked or damaged databases."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_classifier.data.checks import check_cache
from cnn_classifier.data.checks.check import CheckResult, inspect_files
from cnn_classifier.errors import StorageError

pytestmark = pytest.mark.usefixtures("home")

Capture = pytest.CaptureFixture[str]
SQLITE_CONNECT = sqlite3.connect


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"cats": 3, "dogs": 3})


def check(root: Path) -> CheckResult:
    return inspect_files(sorted(root.rglob("*.*")))


def database_in(home: Path) -> Path:
    [database] = home.glob("checks-*.sqlite")
    return database


def stderr_line(capfd: Capture) -> str:
    """Return the only line on standard error."""
    [line] = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.skipif(os.name != "posix", reason="st_ctime is the creation time on Windows")
def test_content_change_with_equal_size_and_mtime_is_detected(root: Path) -> None:
    first, second = root / "cats" / "a.bmp", root / "cats" / "b.bmp"
    for path, color in ((first, "red"), (second, "lime")):
        Image.new("RGB", (9, 5), color).save(path)
        os.utime(path, ns=(10**18, 10**18))
    assert first.stat().st_size == second.stat().st_size
    before = check(root).digests
    shutil.copy2(first, second)  # preserves the mtime, as extracting an archive does
    assert second.stat().st_mtime_ns == 10**18
    assert check(root).digests == {**before, second: before[first]}


def test_check_without_writable_cache_directory_warns_and_succeeds(root: Path, home: Path, capfd: Capture) -> None:
    home.write_text("not a folder", encoding="utf-8")
    results = [check(root), check(root)]
    assert stderr_line(capfd).startswith(f"warning: cannot use the check cache {home / 'checks-'}")
    home.unlink()
    assert results == [check(root)] * 2
    assert capfd.readouterr().err == ""


def test_read_only_database_is_read_and_warns(
    root: Path, home: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_read_only(path: Path, **options: Any) -> sqlite3.Connection:
        return SQLITE_CONNECT(f"{path.as_uri()}?mode=ro", uri=True, **options)

    first = check(root)
    shutil.copy(root / "cats" / "000.png", root / "cats" / "copy.png")
    before = database_in(home).read_bytes()
    monkeypatch.setattr(sqlite3, "connect", connect_read_only)
    monkeypatch.delattr(Image, "open")
    result = check(root)
    assert {path: result.digests[path] for path in first.digests} == first.digests
    assert result.image_infos == first.image_infos
    assert stderr_line(capfd) == (
        f"warning: cannot use the check cache {database_in(home)}: attempt to write a readonly database. "
        "Results of this check are not cached."
    )
    assert database_in(home).read_bytes() == before


@pytest.mark.parametrize("mode", ["immediate", "exclusive"])
def test_locked_database_is_skipped_and_warns(
    root: Path, home: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    first = check(root)
    Image.new("RGB", (9, 5), "lime").save(root / "cats" / "new.png")
    monkeypatch.setattr(check_cache, "TIMEOUT", 0.01)
    with closing(SQLITE_CONNECT(database_in(home), isolation_level=None)) as other:
        other.execute(f"begin {mode}")  # an exclusive transaction also blocks readers
        result = check(root)
    assert {path: result.digests[path] for path in first.digests} == first.digests
    assert (result[root / "cats" / "new.png"].width, len(result.digests)) == (9, 7)
    assert stderr_line(capfd) == (
        f"warning: cannot use the check cache {database_in(home)}: locked by another process for 0.01 seconds. "
        "Results of this check are not cached."
    )
    assert check(root) == result


@pytest.mark.skipif(os.name != "posix", reason="requires POSIX permissions")
def test_database_in_shared_folder_is_group_writable(root: Path, home: Path) -> None:
    before = os.umask(0o002)
    try:
        check(root)
    finally:
        os.umask(before)
    assert oct(database_in(home).stat().st_mode & 0o777) == "0o664"


def test_damaged_database_raises_storage_error_with_its_path(root: Path, home: Path) -> None:
    first = check(root)
    database = database_in(home)
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"checks-\d\.sqlite: file is not a database\. Delete this file;"):
        check(root)
    database.unlink()
    assert check(root) == first
