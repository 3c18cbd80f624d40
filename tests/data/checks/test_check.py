"""Tests of `inspect_files`: caching, unreadable files, interruption and parallel decoding."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_classifier.data import parallel
from cnn_classifier.data.checks import check as check_module
from cnn_classifier.data.checks.check import CheckResult, inspect_files
from cnn_classifier.data.checks.image_info import compute_digest

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"cats": 3, "dogs": 3})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that Pillow opens."""
    names: list[str] = []
    open_image = Image.open

    def recording_open(source: Any, **options: Any) -> Image.Image:
        names.append(Path(source).name)
        return open_image(source, **options)

    monkeypatch.setattr(Image, "open", recording_open)
    return names


def check(root: Path) -> CheckResult:
    return inspect_files(sorted(root.rglob("*.*")))


def test_second_check_of_unchanged_files_reads_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check(root)
    monkeypatch.delattr(Image, "open")
    monkeypatch.delattr(Path, "read_bytes")
    assert check(root) == first


def test_copied_folder_is_not_decoded_again(root: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = check(root)
    shutil.copytree(root, tmp_path / "copy")
    del decoded[:]
    second = check(tmp_path / "copy")
    assert decoded == []
    assert [*second.digests.values()] == [*first.digests.values()]
    assert second.image_infos == first.image_infos


def test_only_changed_file_is_decoded_again(root: Path, decoded: list[str]) -> None:
    check(root)
    changed = root / "cats" / "001.png"
    Image.new("RGB", (9, 5), "lime").save(changed)
    del decoded[:]
    result = check(root)
    assert decoded == ["001.png"]
    assert (result[changed].width, result[changed].height) == (9, 5)


def test_file_with_new_timestamp_is_hashed_but_not_decoded(root: Path, decoded: list[str]) -> None:
    first = check(root)
    del decoded[:]
    for path in root.rglob("*.png"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert check(root) == first
    assert decoded == []


def test_files_with_identical_bytes_are_decoded_once(root: Path, decoded: list[str]) -> None:
    for name in ("a.png", "b.png"):
        shutil.copy(root / "cats" / "000.png", root / "dogs" / name)
    result = check(root)
    assert len(decoded) == 6
    assert result[root / "dogs" / "b.png"] is result[root / "cats" / "000.png"]


def test_unreadable_file_is_decoded_in_every_check(root: Path, decoded: list[str]) -> None:
    (root / "cats" / "broken.png").write_bytes(b"no picture")
    expected = {root / "cats" / "broken.png": "not an image: it starts like text, 'no picture'"}
    assert check(root).unreadable == expected
    del decoded[:]
    assert check(root).unreadable == expected
    assert decoded == ["broken.png"]


def test_missing_file_is_unreadable_until_it_exists(root: Path) -> None:
    missing = root / "cats" / "listed.png"
    assert inspect_files([missing]).unreadable == {missing: "No such file or directory"}
    shutil.copy(root / "cats" / "000.png", missing)
    assert inspect_files([missing]).unreadable == {}


def test_digest_of_unreadable_file_is_not_cached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_permission_error(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = root / "cats" / "000.png"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", raise_permission_error)
        assert compute_digest(path) != compute_digest(root / "dogs" / "000.png")
        inspect_files([path])
    assert inspect_files([path]).digests == {path: compute_digest(path)}


def test_interrupted_check_keeps_saved_results(root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    open_image = Image.open

    def interrupted_open(source: Any, **options: Any) -> Image.Image:
        if Path(source) == root / "dogs" / "001.png":  # the fifth of six
            raise KeyboardInterrupt
        return open_image(source, **options)

    monkeypatch.setattr(check_module, "SAVE_EVERY_N_IMAGES", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", interrupted_open)
        with pytest.raises(KeyboardInterrupt):
            check(root)
    del decoded[:]
    assert len(check(root).digests) == 6
    assert sorted(decoded) == ["001.png", "002.png"]


def test_processes_and_threads_give_equal_results(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "cats" / "000.png").write_bytes(b"")
    threaded = check(root)
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "second home"))
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 1)
    assert check(root) == threaded


@pytest.mark.skipif(sys.platform != "linux", reason="Windows and macOS file names are valid Unicode")
def test_file_name_that_is_not_utf_8_is_cached(root: Path, decoded: list[str]) -> None:
    file, link = (root / "cats" / name.decode("utf-8", "surrogateescape") for name in (b"caf\xe9.png", b"\xff.png"))
    (root / "cats" / "000.png").rename(file)
    link.symlink_to("nowhere.png")
    assert check(root).unreadable == {link: "No such file or directory"}
    del decoded[:]
    assert check(root)[file].width == 32
    assert decoded == [link.name]
