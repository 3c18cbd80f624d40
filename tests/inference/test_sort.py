"""Files are sorted into folders by what is on them, nothing is lost or replaced, and all of it can be undone."""

from pathlib import Path

import pytest

from cnn_classifier.errors import DataError
from cnn_classifier.inference.predictor import UNKNOWN, Prediction
from cnn_classifier.inference.sort import Sorter, to_folder_name, undo_sort


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Two pictures of one name, one nobody knows, one that is none."""
    names = ["june/1.jpg", "july/1.jpg", "odd.jpg", "text.jpg"]
    paths = [tmp_path / "photos" / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.parent.name, encoding="utf-8")
    return paths


def sort(photos: list[Path], root: Path, way: str) -> Sorter:
    sorter = Sorter(root, way)
    for path, label in zip(photos, ["cats", "cats", UNKNOWN, None], strict=True):
        sorter.add(Prediction(str(path), label, error=None if label else "no picture"))
    return sorter


def found(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


SORTED = [".sorted.csv", "cats/1-2.jpg", "cats/1.jpg", "uncertain/odd.jpg", "unreadable/text.jpg"]


@pytest.mark.parametrize("way", ["copy", "link", "move"])
def test_files_are_sorted_and_everything_is_as_before_once_it_is_undone(
    photos: list[Path], tmp_path: Path, way: str
) -> None:
    before = {path: path.read_text() for path in photos}

    sorter = sort(photos, tmp_path / "sorted", way)

    assert found(tmp_path / "sorted") == SORTED
    assert (tmp_path / "sorted" / "cats" / "1-2.jpg").read_text() == "july"
    assert (tmp_path / "sorted" / "cats" / "1.jpg").is_symlink() == (way == "link")
    assert [path.exists() for path in photos] == [way != "move"] * 4
    assert f"2  {tmp_path / 'sorted' / 'cats'}" in sorter.summary()

    told = undo_sort(tmp_path / "sorted")

    assert told.startswith("4 files are back" if way == "move" else "0 files are back where they were, 4 copies")
    assert {path: path.read_text() for path in photos} == before
    assert list((tmp_path / "sorted").iterdir()) == []


def test_sorting_twice_adds_and_never_replaces(photos: list[Path], tmp_path: Path) -> None:
    kept = tmp_path / "sorted" / "cats" / "1.jpg"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")

    sort(photos, tmp_path / "sorted", "copy")
    sort(photos, tmp_path / "sorted", "copy")

    assert kept.read_text() == "mine"
    assert len(found(tmp_path / "sorted" / "cats")) == 5
    undo_sort(tmp_path / "sorted")
    assert found(tmp_path / "sorted") == ["cats/1.jpg"]


def test_a_move_that_cannot_be_undone_says_so_and_loses_nothing(photos: list[Path], tmp_path: Path) -> None:
    sort(photos, tmp_path / "sorted", "move")
    photos[2].write_text("another")

    with pytest.raises(DataError, match=r"odd\.jpg is there again, so .*uncertain/odd\.jpg cannot go back to it"):
        undo_sort(tmp_path / "sorted")

    assert photos[2].read_text() == "another"
    assert (tmp_path / "sorted" / "uncertain" / "odd.jpg").exists()
    photos[2].unlink()
    assert undo_sort(tmp_path / "sorted").startswith("3 files are back")
    assert all(path.exists() for path in photos)


def test_only_what_was_sorted_into_can_be_undone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was not sorted into .* give the DIR of --sort-into"):
        undo_sort(tmp_path)
    (tmp_path / ".sorted.csv").write_text("copy,/a.jpg,../../b.jpg\n")
    with pytest.raises(DataError, match=r"which is not below it; it is not a log that we wrote"):
        undo_sort(tmp_path)


@pytest.mark.parametrize(
    ("class_name", "folder"),
    [("cats", "cats"), ("../../etc", "_.._etc"), ("a/b", "a_b"), ("..", "_"), ("uncertain", "uncertain_")],
)
def test_a_class_cannot_lead_out_of_the_folder(class_name: str, folder: str) -> None:
    assert to_folder_name(class_name) == folder
