"""Every file is looked at once, and again only where it may have changed."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cnn_classifier.data import parallel
from cnn_classifier.data.checks import check as audit_module
from cnn_classifier.data.checks.check import CheckResult, inspect_files
from cnn_classifier.data.checks.image_info import compute_digest

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"cats": 3, "dogs": 3})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from here on, in any order."""
    names: list[str] = []
    open_image = Image.open

    def watched(source: Any, **options: Any) -> Image.Image:
        names.append(Path(source).name)
        return open_image(source, **options)

    monkeypatch.setattr(Image, "open", watched)
    return names


def check(root: Path) -> CheckResult:
    return inspect_files(sorted(root.rglob("*.*")))


def test_a_second_check_reads_no_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check(root)
    monkeypatch.delattr(Image, "open")
    monkeypatch.delattr(Path, "read_bytes")
    assert check(root) == first


def test_a_copy_of_the_folder_is_known_by_its_content(root: Path, tmp_path: Path, decoded: list[str]) -> None:
    first = check(root)
    shutil.copytree(root, tmp_path / "copy")
    del decoded[:]
    again = check(tmp_path / "copy")
    assert decoded == []
    assert [*again.digests.values()] == [*first.digests.values()]
    assert again.image_infos == first.image_infos


def test_a_changed_file_is_checked_anew_and_no_other(root: Path, decoded: list[str]) -> None:
    check(root)
    changed = root / "cats" / "001.png"
    Image.new("RGB", (9, 5), "lime").save(changed)
    del decoded[:]
    found = check(root)
    assert decoded == ["001.png"]
    assert (found[changed].width, found[changed].height) == (9, 5)


def test_a_file_of_another_time_is_read_again_but_not_decoded(root: Path, decoded: list[str]) -> None:
    first = check(root)
    del decoded[:]
    for path in root.rglob("*.png"):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert check(root) == first
    assert decoded == []


def test_the_same_bytes_are_decoded_once(root: Path, decoded: list[str]) -> None:
    for copy in ("a.png", "b.png"):
        shutil.copy(root / "cats" / "000.png", root / "dogs" / copy)
    found = check(root)
    assert len(decoded) == 6
    assert found[root / "dogs" / "b.png"] is found[root / "cats" / "000.png"]


def test_what_cannot_be_read_is_tried_each_time(root: Path, decoded: list[str]) -> None:
    (root / "cats" / "broken.png").write_bytes(b"no picture")
    told = {root / "cats" / "broken.png": "not an image: it starts like text, 'no picture'"}
    assert check(root).unreadable == told
    del decoded[:]
    assert check(root).unreadable == told
    assert decoded == ["broken.png"]


def test_a_missing_file_is_told_until_it_is_there(root: Path) -> None:
    missing = root / "cats" / "listed.png"
    assert inspect_files([missing]).unreadable == {missing: "No such file or directory"}
    shutil.copy(root / "cats" / "000.png", missing)
    assert inspect_files([missing]).unreadable == {}


def test_a_file_that_could_not_be_read_is_known_by_its_bytes_once_it_can(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = root / "cats" / "000.png"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", denied)
        assert compute_digest(path) != compute_digest(root / "dogs" / "000.png")
        inspect_files([path])
    assert inspect_files([path]).digests == {path: compute_digest(path)}


def test_an_interrupted_check_keeps_what_it_had(
    root: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Image.open

    def interrupted(source: Any, **options: Any) -> Image.Image:
        if Path(source) == root / "dogs" / "001.png":  # the fifth of six
            raise KeyboardInterrupt
        return watched(source, **options)

    monkeypatch.setattr(audit_module, "SAVE_EVERY_N_IMAGES", 2)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            check(root)
    del decoded[:]
    assert len(check(root).digests) == 6
    assert sorted(decoded) == ["001.png", "002.png"]


def test_many_files_are_shared_among_processes_with_the_same_result(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "cats" / "000.png").write_bytes(b"")
    by_threads = check(root)
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "another home"))
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 1)
    assert check(root) == by_threads


@pytest.mark.skipif(sys.platform != "linux", reason="Windows and macOS have no names that are no text")
def test_a_name_that_is_no_utf_8_is_as_good_as_any(root: Path, decoded: list[str]) -> None:
    odd, linked = (root / "cats" / name.decode("utf-8", "surrogateescape") for name in (b"caf\xe9.png", b"\xff.png"))
    (root / "cats" / "000.png").rename(odd)
    linked.symlink_to("nowhere.png")
    assert check(root).unreadable == {linked: "No such file or directory"}
    del decoded[:]
    assert check(root)[odd].width == 32
    assert decoded == [linked.name]
