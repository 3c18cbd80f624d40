"""Images are found in every layout that people keep them in; where there is nothing to find, the error says why."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_classifier.data.folder import Scan, image_files, scan_source
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.errors import ConfigError, DataError

MakeFolder = Callable[..., Path]


def scan(root: Path | None = None, **options: str) -> Scan:
    return scan_source(DatasetOptions(root=str(root) if root else None, **options))


def images_by_split(found: Scan) -> dict[str | None, int]:
    splits = [sample.split for sample in found.samples]
    return {split: splits.count(split) for split in splits}


def test_class_folders_give_names_in_order_and_leave_the_split_open(make_folder: MakeFolder) -> None:
    found = scan(make_folder({"dogs": 1, "cats": 2}))
    assert found.class_names == ["cats", "dogs"]
    assert [(s.path.parent.name, s.label) for s in found.samples] == [("cats", 0), ("cats", 0), ("dogs", 1)]
    assert images_by_split(found) == {None: 3}


@pytest.mark.parametrize(
    "names",
    [
        {"train": "train", "test": "test"},
        {"train": "train", "val": "val", "test": "test"},
        {"train": "Training", "val": "validation", "test": "TESTING"},
        {"train": "train", "val": "valid"},
    ],
)
def test_split_folders_are_known_by_their_usual_names(make_folder: MakeFolder, names: dict[str, str]) -> None:
    found = scan(make_folder({f"{name}/{label}": 2 for name in names.values() for label in ("cats", "dogs")}))
    assert found.class_names == ["cats", "dogs"]
    assert images_by_split(found) == dict.fromkeys(names, 4)


def test_folders_of_other_names_are_given_one_by_one(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"learn/cats": 3, "learn/dogs": 3, "exam/cats": 1, "exam/dogs": 1})
    monkeypatch.chdir(root)
    below_root = scan(root, train_dir="learn", test_dir="exam")
    absolute = scan(train_dir=str(root / "learn"), test_dir=str(root / "exam"))
    from_here = scan(train_dir="learn", test_dir="exam")
    for found in (below_root, absolute, from_here):
        assert images_by_split(found) == {"train": 6, "test": 2}
        assert found.root.resolve() == root.resolve()


def test_hidden_files_and_folders_are_neither_classes_nor_images(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1, ".cache": 1, "__MACOSX/cats": 1, "cats/.thumbs": 1})
    (root / "dogs" / "._000.png").write_bytes(b"resource fork")
    found = scan(root)
    assert found.class_names == ["cats", "dogs"]
    assert [sample.path.relative_to(root).as_posix() for sample in found.samples] == ["cats/000.png", "dogs/000.png"]
    assert not found.ignored


def test_extensions_count_in_any_case_and_other_files_are_counted_by_theirs(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs/brown/small": 1})
    (root / "cats" / "000.png").rename(root / "cats" / "DSC_1.JPG")
    for name in ("cats/notes.txt", "dogs/Notes.TXT", "dogs/brown/README"):
        (root / name).write_text("no image", encoding="utf-8")
    found = scan(root)
    assert {sample.path.name: sample.label for sample in found.samples} == {"DSC_1.JPG": 0, "000.png": 1}
    assert found.ignored == {".txt": 2, "README": 1}


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_are_followed_but_not_in_circles(make_folder: MakeFolder) -> None:
    elsewhere = make_folder({"dogs": 2}, name="elsewhere")
    root = make_folder({"cats/indoors": 2})
    (root / "dogs").symlink_to(elsewhere / "dogs", target_is_directory=True)
    (root / "cats" / "indoors" / "again").symlink_to(root / "cats", target_is_directory=True)
    assert [sample.label for sample in scan(root).samples] == [0, 0, 1, 1]
    assert sorted(path.name for path in image_files(root / "cats")) == ["000.png", "001.png"]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"cats": 2, "dogs": 0}, "images/dogs holds no images; fill this class folder or remove it"),
        ({"cats": 2}, "images has one class only (cats); expected at least two class folders"),
        ({"": 3}, "images holds no class folders; expected one folder of images a class, such as images/cats"),
        ({"": 0}, "images is empty; expected one folder of images a class, such as images/cats"),
        ({"train/cats": 1, "train/dogs": 1, "val/cats": 1}, "val lacks dogs; expected the same class folders as in "),
        (
            {"train/cats": 1, "train/dogs": 1, "test/cats": 1, "test/wolves": 1},
            "test lacks dogs and also has wolves; expected the same class folders as in ",
        ),
        ({"train/cats": 1, "train/dogs": 1, "test/cats": 1, "test/dogs": 0}, "test/dogs holds no images"),
    ],
)
def test_folders_that_cannot_be_learned_from_are_named(
    make_folder: MakeFolder, layout: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        scan(make_folder(layout))
    assert message in str(raised.value).replace(os.sep, "/")


def test_a_folder_that_is_none_is_named_with_its_key(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    with pytest.raises(DataError, match=r"^dataset\.root: .*none does not exist; expected a folder with one folder"):
        scan(root / "none")
    with pytest.raises(DataError, match=r"^dataset\.root: .*000\.png is a file, not a folder"):
        scan(root / "cats" / "000.png")
    with pytest.raises(DataError, match=r"^dataset\.test_dir: .*exam does not exist"):
        scan(train_dir=str(root), test_dir=str(root / "exam"))


def test_options_that_do_not_say_where_the_images_are_name_the_key_to_set() -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.root is not set; .* images of 'pets' are: dataset\.root=PATH$"):
        scan(name="pets")
    with pytest.raises(ConfigError, match=r"^dataset\.source=digitz is unknown; expected one of: digits$"):
        scan(source="digitz")
    with pytest.raises(ConfigError, match=r"^dataset\.train_dir is not set"):
        scan(test_dir="exam")


def test_a_link_upwards_does_not_give_a_class_the_images_of_another(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 2, "dogs": 2})
    (root / "cats" / "up").symlink_to(root, target_is_directory=True)

    assert [sample.path.name for sample in scan_source(DatasetOptions(root=str(root))).samples] == [
        "000.png",
        "001.png",
    ] * 2
