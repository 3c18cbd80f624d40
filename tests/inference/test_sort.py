"""Sorting of files into class folders, and its undo."""

from pathlib import Path

import pytest

from cnn_classifier.errors import DataError
from cnn_classifier.inference.predictor import UNKNOWN, Prediction
from cnn_classifier.inference.sort import Sorter, to_folder_name, undo_sort


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two files with the same name, one that is rejected and one that is unreadable."""
    names = ["june/1.jpg", "july/1.jpg", "odd.jpg", "text.jpg"]
    paths = [tmp_path / "photos" / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.parent.name, encoding="utf-8")
    return paths


def sort_photos(photos: list[Path], root: Path, mode: str) -> Sorter:
    sorter = Sorter(root, mode)
    for path, label in zip(photos, ["cats", "cats", UNKNOWN, None], strict=True):
        sorter.add(Prediction(str(path), label, error=None if label else "not an image"))
    return sorter


def list_files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


SORTED_FILES = [".sorted.csv", "cats/1-2.jpg", "cats/1.jpg", "uncertain/odd.jpg", "unreadable/text.jpg"]


@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_undo_restores_all_files(photos: list[Path], tmp_path: Path, mode: str) -> None:
    before = {path: path.read_text() for path in photos}

    sorter = sort_photos(photos, tmp_path / "sorted", mode)

    assert list_files(tmp_path / "sorted") == SORTED_FILES
    assert (tmp_path / "sorted" / "cats" / "1-2.jpg").read_text() == "july"
    assert (tmp_path / "sorted" / "cats" / "1.jpg").is_symlink() == (mode == "link")
    assert [path.exists() for path in photos] == [mode != "move"] * 4
    assert f"2  {tmp_path / 'sorted' / 'cats'}" in sorter.summary()

    summary = undo_sort(tmp_path / "sorted")

    counts = (4, 0) if mode == "move" else (0, 4)
    assert summary == "Moved {} files back, removed {} copies and links.".format(*counts)
    assert {path: path.read_text() for path in photos} == before
    assert list((tmp_path / "sorted").iterdir()) == []


def test_sorting_twice_never_overwrites_files(photos: list[Path], tmp_path: Path) -> None:
    existing = tmp_path / "sorted" / "cats" / "1.jpg"
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")

    sort_photos(photos, tmp_path / "sorted", "copy")
    sort_photos(photos, tmp_path / "sorted", "copy")

    assert existing.read_text() == "mine"
    assert len(list_files(tmp_path / "sorted" / "cats")) == 5
    undo_sort(tmp_path / "sorted")
    assert list_files(tmp_path / "sorted") == ["cats/1.jpg"]


def test_undo_of_move_raises_if_original_path_exists(photos: list[Path], tmp_path: Path) -> None:
    sort_photos(photos, tmp_path / "sorted", "move")
    photos[2].write_text("another")

    with pytest.raises(DataError, match=r"Cannot move .*uncertain/odd\.jpg back to .*odd\.jpg: that file exists"):
        undo_sort(tmp_path / "sorted")

    assert photos[2].read_text() == "another"
    assert (tmp_path / "sorted" / "uncertain" / "odd.jpg").exists()
    photos[2].unlink()
    assert undo_sort(tmp_path / "sorted").startswith("Moved 3 files back")
    assert all(path.exists() for path in photos)


def test_undo_requires_a_valid_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the sort log of .*\. Pass the directory given as --into\."):
        undo_sort(tmp_path)
    (tmp_path / ".sorted.csv").write_text("copy,/a.jpg,../../b.jpg\n")
    with pytest.raises(DataError, match=r"which is outside .*\. Expected a log written by cnn-classifier sort\."):
        undo_sort(tmp_path)


@pytest.mark.parametrize(
    ("class_name", "folder"),
    [("cats", "cats"), ("../../etc", "_.._etc"), ("a/b", "a_b"), ("..", "_"), ("uncertain", "uncertain_")],
)
def test_to_folder_name_returns_a_single_folder(class_name: str, folder: str) -> None:
    assert to_folder_name(class_name) == folder
