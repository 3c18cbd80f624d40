"""Sorting of files into class folders, and its undo."""

from pathlib import Path

import pytest

from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.sort import Sorter, to_folder_names, undo_sort


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
    sorter = Sorter(root, mode, ["cats", "unknown"])
    for path in photos[:2]:
        sorter.add(Prediction(str(path), "unknown"))
    sorter.add(Prediction(str(photos[2]), "unknown", rejected=True, rejection_reason="low_confidence"))
    sorter.add(Prediction(str(photos[3]), error="not an image"))
    return sorter


def list_files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir())


SORTED_FILES = [".sorted.csv", "_rejected/odd.jpg", "_unreadable/text.jpg", "unknown/1-2.jpg", "unknown/1.jpg"]


@pytest.mark.parametrize("mode", ["copy", "link", "move"])
def test_undo_restores_all_files(photos: list[Path], tmp_path: Path, mode: str) -> None:
    before = {path: path.read_text() for path in photos}

    sorter = sort_photos(photos, tmp_path / "sorted", mode)

    assert list_files(tmp_path / "sorted") == SORTED_FILES
    assert (tmp_path / "sorted" / "unknown" / "1-2.jpg").read_text() == "july"
    assert (tmp_path / "sorted" / "unknown" / "1.jpg").is_symlink() == (mode == "link")
    assert [path.exists() for path in photos] == [mode != "move"] * 4
    assert f"2  {tmp_path / 'sorted' / 'unknown'}" in sorter.summary()

    summary = undo_sort(tmp_path / "sorted")

    assert summary == ("Moved 4 files back." if mode == "move" else "Removed 4 copied or linked files.")
    assert {path: path.read_text() for path in photos} == before
    assert list((tmp_path / "sorted").iterdir()) == []


def test_sorting_twice_never_overwrites_files(photos: list[Path], tmp_path: Path) -> None:
    existing = tmp_path / "sorted" / "unknown" / "1.jpg"
    existing.parent.mkdir(parents=True)
    existing.write_text("mine")

    sort_photos(photos, tmp_path / "sorted", "copy")
    sort_photos(photos, tmp_path / "sorted", "copy")

    assert existing.read_text() == "mine"
    assert len(list_files(tmp_path / "sorted" / "unknown")) == 5
    undo_sort(tmp_path / "sorted")
    assert list_files(tmp_path / "sorted") == ["unknown/1.jpg"]


def test_undo_of_move_raises_if_original_path_exists(photos: list[Path], tmp_path: Path) -> None:
    sort_photos(photos, tmp_path / "sorted", "move")
    photos[2].write_text("another")

    with pytest.raises(DataError, match=r"Cannot move .*_rejected/odd\.jpg back to .*odd\.jpg: that file exists"):
        undo_sort(tmp_path / "sorted")

    assert photos[2].read_text() == "another"
    assert (tmp_path / "sorted" / "_rejected" / "odd.jpg").exists()
    photos[2].unlink()
    assert undo_sort(tmp_path / "sorted") == "Moved 3 files back."
    assert all(path.exists() for path in photos)


def test_undo_requires_a_valid_log(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the sort log of .*\. Pass the directory given as --into\."):
        undo_sort(tmp_path)
    (tmp_path / ".sorted.csv").write_text("copy,/a.jpg,../../b.jpg\n")
    with pytest.raises(DataError, match=r"which is outside .*\. Expected a log written by cnn-classifier sort\."):
        undo_sort(tmp_path)


def test_log_of_an_older_version_can_be_undone(photos: list[Path], tmp_path: Path) -> None:
    rows = []
    for path, folder in zip(photos, ["cats", "dogs", "uncertain", "unreadable"], strict=True):
        (tmp_path / "sorted" / folder).mkdir(parents=True)
        path.rename(tmp_path / "sorted" / folder / path.name)
        rows.append(f"move,{path},{folder}/{path.name}\n")
    (tmp_path / "sorted" / ".sorted.csv").write_text("".join(rows), encoding="utf-8")

    assert undo_sort(tmp_path / "sorted") == "Moved 4 files back."
    assert all(path.exists() for path in photos)
    assert list((tmp_path / "sorted").iterdir()) == []


def test_folder_names_are_valid_and_distinct_on_every_file_system() -> None:
    expected = {
        "cats": "cats",
        "unknown": "unknown",
        "uncertain": "uncertain",
        "_rejected": "_rejected-2",
        "_Unreadable": "_Unreadable-2",
        "a/b": "a_b-2",
        "a_b": "a_b",
        "CATS": "CATS-2",
        "../../etc": "_.._etc",
        "..": "_",
        ".hidden": "hidden",
        "CON": "_CON",
        "nul.txt": "_nul.txt",
        "console": "console",
        "dogs. ": "dogs",
        "00038": "00038",
        "ä" * 300: "ä" * 100,
    }
    assert to_folder_names(expected) == expected


def test_file_in_place_of_a_folder_raises_before_anything_is_moved(photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / "unknown").write_text("a file", encoding="utf-8")
    with pytest.raises(StorageError, match=r"sorted/unknown is not a folder\. Move it, or choose another folder\.$"):
        sort_photos(photos, tmp_path / "sorted", "move")
    assert all(path.exists() for path in photos)


def test_rejected_and_unreadable_images_of_a_sort_are_no_classes(photos: list[Path], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "sorted", "copy", ["cats", "_rejected"])
    for path, label in zip(photos[:3], ["cats", "_rejected", "cats"], strict=True):
        sorter.add(Prediction(str(path), label, rejected=path == photos[2]))
    assert "sorted/_rejected-2  (class '_rejected')" in sorter.summary()

    index = scan_root(tmp_path / "sorted")
    assert index.class_names == ["_rejected-2", "cats"]
    assert index.ignored == {"in _rejected, which is no class": 1}
    (tmp_path / "sorted" / ".sorted.csv").unlink()
    assert scan_root(tmp_path / "sorted").class_names == ["_rejected", "_rejected-2", "cats"]
