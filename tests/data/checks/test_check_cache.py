"""What was found is remembered for the next check; without its memory a check takes longer, and no more than that."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_classifier.data.checks import check_cache as ledger
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


def memory_in(home: Path) -> Path:
    [memory] = home.glob("checks-*.sqlite")
    return memory


def told(capfd: Capture) -> str:
    """The one line on standard error."""
    [line] = capfd.readouterr().err.splitlines()
    return line


@pytest.mark.skipif(os.name != "posix", reason="Windows tells when a file was made, not when it was changed")
def test_other_bytes_of_the_same_size_and_time_are_noticed(root: Path) -> None:
    first, second = root / "cats" / "a.bmp", root / "cats" / "b.bmp"
    for path, colour in ((first, "red"), (second, "lime")):
        Image.new("RGB", (9, 5), colour).save(path)
        os.utime(path, ns=(10**18, 10**18))
    assert first.stat().st_size == second.stat().st_size
    before = check(root).digests
    shutil.copy2(first, second)  # with its time, as an archive that is unpacked again does
    assert second.stat().st_mtime_ns == 10**18
    assert check(root).digests == {**before, second: before[first]}


def test_a_memory_that_cannot_be_made_is_done_without(root: Path, home: Path, capfd: Capture) -> None:
    home.write_text("no folder", encoding="utf-8")
    found = [check(root), check(root)]
    assert told(capfd).startswith(f"warning: {home / 'checks-'}")
    home.unlink()
    assert found == [check(root)] * 2
    assert capfd.readouterr().err == ""


def test_a_memory_that_can_only_be_read_is_read(
    root: Path, home: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(path: Path, **options: Any) -> sqlite3.Connection:
        return SQLITE_CONNECT(f"{path.as_uri()}?mode=ro", uri=True, **options)

    first = check(root)
    shutil.copy(root / "cats" / "000.png", root / "cats" / "copy.png")
    before = memory_in(home).read_bytes()
    monkeypatch.setattr(sqlite3, "connect", read_only)
    monkeypatch.delattr(Image, "open")
    found = check(root)
    assert {path: found.digests[path] for path in first.digests} == first.digests
    assert found.image_infos == first.image_infos
    assert told(capfd) == (
        f"warning: {memory_in(home)}: attempt to write a readonly database; "
        "what is found in this run is not remembered for the next"
    )
    assert memory_in(home).read_bytes() == before


@pytest.mark.parametrize("mode", ["immediate", "exclusive"])
def test_a_memory_that_another_run_does_not_let_go_of_is_done_without(
    root: Path, home: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    first = check(root)
    Image.new("RGB", (9, 5), "lime").save(root / "cats" / "new.png")
    monkeypatch.setattr(ledger, "TIMEOUT", 0.01)
    with closing(SQLITE_CONNECT(memory_in(home), isolation_level=None)) as other:
        other.execute(f"begin {mode}")  # to write, or writing: then not even to be read
        found = check(root)
    assert {path: found.digests[path] for path in first.digests} == first.digests
    assert (found[root / "cats" / "new.png"].width, len(found.digests)) == (9, 7)
    assert told(capfd) == (
        f"warning: {memory_in(home)}: another run has held it for 0.01 seconds; "
        "what is found in this run is not remembered for the next"
    )
    assert check(root) == found


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_whoever_may_write_into_a_shared_folder_may_write_the_memory(root: Path, home: Path) -> None:
    before = os.umask(0o002)
    try:
        check(root)
    finally:
        os.umask(before)
    assert oct(memory_in(home).stat().st_mode & 0o777) == "0o664"


def test_a_broken_memory_says_which_file_to_delete(root: Path, home: Path) -> None:
    first = check(root)
    memory = memory_in(home)
    memory.write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"checks-\d\.sqlite: file is not a database; delete this file, it is only"):
        check(root)
    memory.unlink()
    assert check(root) == first
