"""Tests of the folder layouts, and of the error messages for folders without a valid layout."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.folder import scan_eval_folder, scan_root, scan_splits
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.data.splits.groups import assign_groups
from cnn_classifier.errors import ConfigError, DataError

MakeFolder = Callable[..., Path]


def scan_split_dirs(root: Path | None = None, **folders: str) -> DatasetIndex:
    """Index split folders that are given as in the configuration, such as `train_dir`."""
    return scan_splits(DatasetConfig(root=str(root) if root else None, **folders).split_dirs, root)  # type: ignore[arg-type]


def relative_paths(index: DatasetIndex) -> list[str]:
    return [sample.path.relative_to(index.root).as_posix() for sample in index.samples]


def images_by_split(index: DatasetIndex) -> dict[str | None, int]:
    splits = [sample.split for sample in index.samples]
    return {split: splits.count(split) for split in splits}


def test_class_folders_give_sorted_names_and_no_split(make_folder: MakeFolder) -> None:
    index = scan_root(make_folder({"dogs": 1, "cats": 2}))
    assert index.class_names == ["cats", "dogs"]
    assert [(s.path.parent.name, s.label) for s in index.samples] == [("cats", 0), ("cats", 0), ("dogs", 1)]
    assert images_by_split(index) == {None: 3}


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train", "test": "test"},
        {"train": "train", "val": "val", "test": "test"},
        {"train": "Training", "val": "validation", "test": "TESTING"},
        {"train": "train", "val": "valid"},
    ],
)
def test_split_folders_are_recognized_by_common_names(make_folder: MakeFolder, names: dict[str, str]) -> None:
    index = scan_root(make_folder({f"{name}/{label}": 2 for name in names.values() for label in ("cats", "dogs")}))
    assert index.class_names == ["cats", "dogs"]
    assert images_by_split(index) == dict.fromkeys(names, 4)


def test_split_folder_inside_a_folder_of_the_same_name_is_found(make_folder: MakeFolder) -> None:
    root = make_folder(
        {f"{name}/{name}/{label}": 2 for name in ("training_set", "test_set") for label in ("cats", "dogs")}
    )
    assert images_by_split(scan_root(root)) == {"train": 4, "test": 4}
    assert relative_paths(scan_eval_folder(root)) == [
        f"{label}/00{n}.png" for label in ("cats", "dogs") for n in range(2)
    ]
    index = scan_split_dirs(root, train_dir="training_set", test_dir="test_set/test_set")
    assert images_by_split(index) == {"train": 4, "test": 4}


@pytest.mark.parametrize(
    "layout",
    [
        {f"{name}/{label}": 1 for name in ("learn", "exam") for label in ("cats", "dogs")},
        {f"{name}/all/{label}": 1 for name in ("learn", "exam") for label in ("cats", "dogs")},
        {"seg_pred": 1} | {f"seg_{name}/seg_{name}/{label}": 1 for name in ("train", "test") for label in "ab"},
    ],
)
def test_split_folders_with_unknown_names_raise_data_error(make_folder: MakeFolder, layout: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"which look like splits, not classes\. Set dataset\.train_dir=FOLDER dataset"):
        scan_root(make_folder(layout))


@pytest.mark.parametrize(
    "layout",
    [
        {"cats/black": 1, "cats/white": 1, "dogs/black": 1},
        {"cats/black": 1, "cats/white": 1, "dogs/black": 1, "dogs/brown": 1},
        {"ill/day1": 1, "well/day1": 1},
        {"train_stations": 1, "test_tubes": 1},
    ],
)
def test_class_folders_with_subfolders_are_classes(make_folder: MakeFolder, layout: dict[str, int]) -> None:
    index = scan_root(make_folder(layout))
    assert index.class_names == sorted({folder.partition("/")[0] for folder in layout})
    assert len(index.samples) == len(layout)


def test_folders_on_different_drives_use_the_first_as_root(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_different_drives(_: object) -> str:
        raise ValueError("Paths don't have the same drive")

    root = make_folder({f"{name}/{label}": 1 for name in ("learn", "exam") for label in ("cats", "dogs")})
    monkeypatch.setattr(os.path, "commonpath", raise_different_drives)
    index = scan_split_dirs(train_dir=str(root / "learn"), test_dir=str(root / "exam"))
    assert (index.root, images_by_split(index)) == (root / "learn", {"train": 2, "test": 2})


def test_split_folders_can_be_set_one_by_one(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"learn/cats": 3, "learn/dogs": 3, "exam/cats": 1, "exam/dogs": 1})
    monkeypatch.chdir(root)
    below_root = scan_split_dirs(root, train_dir="learn", test_dir="exam")
    absolute = scan_split_dirs(train_dir=str(root / "learn"), test_dir=str(root / "exam"))
    from_here = scan_split_dirs(train_dir="learn", test_dir="exam")
    for index in (below_root, absolute, from_here):
        assert images_by_split(index) == {"train": 6, "test": 2}
        assert index.root.resolve() == root.resolve()


def test_hidden_files_and_folders_are_ignored(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1, ".cache": 1, "__MACOSX/cats": 1, "cats/.thumbs": 1})
    (root / "dogs" / "._000.png").write_bytes(b"resource fork")
    index = scan_root(root)
    assert index.class_names == ["cats", "dogs"]
    assert relative_paths(index) == ["cats/000.png", "dogs/000.png"]
    assert not index.ignored


def test_extensions_are_case_insensitive_and_other_files_are_counted(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs/brown/small": 1})
    (root / "cats" / "000.png").rename(root / "cats" / "DSC_1.JPG")
    for name in ("cats/notes.txt", "dogs/Notes.TXT", "dogs/brown/README"):
        (root / name).write_text("no image", encoding="utf-8")
    index = scan_root(root)
    assert {sample.path.name: sample.label for sample in index.samples} == {"DSC_1.JPG": 0, "000.png": 1}
    assert index.ignored == {".txt": 2, "(none)": 1}


@pytest.mark.parametrize("test", ["test", "test/test"])
def test_test_folder_without_class_folders_is_ignored(make_folder: MakeFolder, test: str) -> None:
    index = scan_root(make_folder({"train/cats": 2, "train/dogs": 2, test: 3}))
    assert {sample.split for sample in index.samples} == {"train"}
    assert index.class_names == ["cats", "dogs"]
    assert index.ignored == {"in test, which has no class folders": 3}


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"cats": 2, "dogs": 0}, "images/dogs contains no images. Add images to this class folder or remove it."),
        ({"cats": 2}, "images has only one class (cats). Expected at least two class folders."),
        ({"": 3}, "images contains no class folders. Expected one folder of images per class, such as images/cats."),
        ({"": 0}, "images is empty. Expected one folder of images per class, such as images/cats."),
        ({"train/cats": 1, "train/dogs": 0, "test/dogs": 1}, "train/dogs contains no images. Add images to this class"),
        (
            {"train/cats": 1, "train/dogs": 1, "test/Cats": 1, "test/dogs": 1},
            "images has classes 'Cats' and 'cats', which differ only in case or in the encoding of accents. Merge or",
        ),
        (
            {"train/cats": 1, "train/dogs": 1, "val/cats": 1, "val/dogs": 1, "valid/cats": 1, "valid/dogs": 1},
            "images has train, val, valid. Expected one folder per split.",
        ),
        (
            {"val/cats": 1, "val/dogs": 1, "test/cats": 1, "test/dogs": 1},
            "images has val, test but no train. Add it or",
        ),
        ({"train": 2, "test": 2}, "train contains no class folders. Expected one folder of images per class"),
    ],
)
def test_invalid_layout_raises_data_error(make_folder: MakeFolder, layout: dict[str, int], message: str) -> None:
    with pytest.raises(DataError) as raised:
        scan_root(make_folder(layout))
    assert message in str(raised.value).replace(os.sep, "/")


def scan_with_notes(root: Path, **options: Any) -> tuple[dict[str | None, list[int]], list[str], str]:
    """Return the number of images of each class for each split, the class names and the notes."""
    index = scan_source(DatasetConfig(root=str(root), **options))
    counts = Counter((sample.split, sample.label) for sample in index.samples)
    splits = {split for split, _ in counts}
    by_split = {split: [counts[split, label] for label in range(len(index.class_names))] for split in splits}
    return by_split, index.class_names, " ".join(index.notes)


def test_classes_of_split_folders_are_matched_by_name(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 3, "train/b": 2, "train/d": 1, "test/b": 4, "test/d": 5, "test/e": 6, "val/a": 1})
    counts, class_names, notes = scan_with_notes(root)
    assert class_names == ["a", "b", "d"]
    assert counts == {"train": [3, 2, 1], "test": [0, 4, 5], "val": [1, 0, 0]}
    assert notes == "Classes without training images: e. They are left out, with 6 images in other splits."


def test_misspelled_class_of_a_split_folder_is_an_error_until_it_is_renamed(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cats": 1, "train/dogs": 1, "test/cats": 1, "test/dog": 2})
    with pytest.raises(
        DataError, match=r"test has a class 'dog' that train lacks, and lacks 'dogs'\. Expected the same"
    ):
        scan_with_notes(root)
    counts, class_names, notes = scan_with_notes(root, rename_classes={"dog": "dogs"})
    assert (counts, class_names, notes) == ({"train": [1, 1], "test": [1, 2]}, ["cats", "dogs"], "")


def test_empty_class_folders_are_left_out_with_one_note(make_folder: MakeFolder) -> None:
    empty = {f"empty{index:02}": 0 for index in range(12)}
    counts, class_names, notes = scan_with_notes(make_folder({"cats": 1, "dogs": 1, **empty}))
    assert (counts, class_names) == ({None: [1, 1]}, ["cats", "dogs"])
    assert notes.startswith("Class folders without images: empty00, empty01, empty02,")
    assert notes.endswith("empty09 and 2 more. They are left out.")


def test_missing_folder_is_reported_with_its_key(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    with pytest.raises(DataError, match=r"^dataset\.root: .*none does not exist\. Expected a folder with one folder"):
        scan_root(root / "none")
    with pytest.raises(DataError, match=r"^dataset\.root: .*000\.png is a file, not a folder"):
        scan_root(root / "cats" / "000.png")
    with pytest.raises(DataError, match=r"^dataset\.test_dir: .*exam does not exist"):
        scan_split_dirs(train_dir=str(root), test_dir=str(root / "exam"))


@pytest.mark.parametrize("wrapper", ["PetImages", "imagenette2-160", "archive/animals10/raw-img"])
def test_wrapper_folders_of_an_archive_are_skipped(make_folder: MakeFolder, wrapper: str) -> None:
    root = make_folder({f"{wrapper}/Cat": 1, f"{wrapper}/Dog": 1})
    (root / "README.txt").write_text("read me", encoding="utf-8")
    for index in (scan_root(root), scan_eval_folder(root)):
        assert (index.root, relative_paths(index)) == (root / wrapper, ["Cat/000.png", "Dog/000.png"])


def test_wrapper_may_contain_split_folders(make_folder: MakeFolder) -> None:
    both = scan_root(make_folder({f"flowers/{split}/{name}": 1 for split in ("train", "val") for name in "ab"}))
    assert images_by_split(both) == {"train": 2, "val": 2}
    alone = scan_root(make_folder({"flowers/train/a": 1, "flowers/train/b": 1}, name="alone"))
    assert images_by_split(alone) == {"train": 2}


@pytest.mark.parametrize("layout", [{"cats": 1, "cats/indoors": 1, "cats/outdoors": 1}, {"cats/indoors": 1}])
def test_single_class_is_not_a_wrapper(make_folder: MakeFolder, layout: dict[str, int]) -> None:
    root = make_folder({})
    for folder in layout:
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"images has only one class \(cats\)"):
        scan_root(root)
    assert scan_eval_folder(root).class_names == ["cats"]


def test_group_pattern_sets_the_group_of_each_image(make_folder: MakeFolder) -> None:
    index = scan_root(make_folder({"ill/patient1": 2, "ill/patient2": 1, "well/patient3": 1, "well/unknown": 1}))
    assert {sample.group for sample in index.samples} == {None}
    by_number = assign_groups(index, r"patient(\d+)/")
    assert [sample.group for sample in by_number.samples] == ["1", "1", "2", "3", None]
    assert [sample.group for sample in assign_groups(index, r"^\w+").samples] == ["ill"] * 3 + ["well"] * 2
    assert assign_groups(index, None) is index
    with pytest.raises(ConfigError, match=r"^dataset\.group_pattern=\( is not a valid regular expression: missing \)"):
        assign_groups(index, "(")
    with pytest.raises(
        ConfigError, match=r"^dataset\.group_pattern=case\(\\d\) yields no group for any image path, such as ill/"
    ):
        assign_groups(index, r"case(\d)")
