"""Tests of listing images in folders with links, unusual names and unreadable subfolders."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.listing import iter_image_files, list_subfolders
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.errors import DataError

MakeFolder = Callable[..., Path]
needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


def link(place: Path, target: Path) -> None:
    place.symlink_to(target, target_is_directory=True)


def images_by_class(index: DatasetIndex) -> dict[str, int]:
    return {
        name: sum(sample.label == label for sample in index.samples) for label, name in enumerate(index.class_names)
    }


@needs_links
def test_class_folder_may_be_a_link(make_folder: MakeFolder) -> None:
    elsewhere = make_folder({"dogs": 2, "more": 1}, name="elsewhere")
    root = make_folder({"cats": 2})
    link(root / "dogs", elsewhere / "dogs")
    link(root / "cats" / "more", elsewhere / "more")
    assert images_by_class(scan_root(root)) == {"cats": 3, "dogs": 2}


@needs_links
@pytest.mark.parametrize("target", [".", "cats", "cats/indoors", "dogs", "dogs/brown", "..", "cats/indoors/again"])
def test_link_to_a_listed_folder_adds_no_duplicates(make_folder: MakeFolder, target: str) -> None:
    root = make_folder({"cats/indoors": 2, "dogs/brown": 1})
    link(root / "cats" / "indoors" / "again", root / target)
    assert images_by_class(scan_root(root)) == {"cats": 2, "dogs": 1}
    assert len(list(iter_image_files(root))) == 3


@needs_links
@pytest.mark.parametrize("target", [".", "cats", "..", "alias"])
def test_circular_link_beside_the_classes_is_not_a_class(make_folder: MakeFolder, target: str) -> None:
    root = make_folder({"cats": 2, "dogs": 1})
    link(root / "alias", root / target)
    assert images_by_class(scan_root(root)) == {"cats": 2, "dogs": 1}


@needs_links
def test_class_linked_to_a_subfolder_of_another_class_owns_its_images(make_folder: MakeFolder) -> None:
    root = make_folder({"cats/black": 2, "cats/white": 1})
    link(root / "panthers", root / "cats" / "black")
    assert images_by_class(scan_root(root)) == {"cats": 1, "panthers": 2}


@needs_links
def test_two_links_to_one_folder_are_followed_once(make_folder: MakeFolder) -> None:
    elsewhere = make_folder({"more/deep": 2}, name="elsewhere")
    root = make_folder({"cats": 1, "dogs": 1})
    for name in ("cats", "dogs"):
        link(root / name / "more", elsewhere / "more")
    assert images_by_class(scan_root(root)) == {"cats": 3, "dogs": 1}


@needs_links
def test_same_folder_in_two_splits_raises_data_error(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cats": 1, "train/dogs": 1, "test/cats": 1})
    link(root / "test" / "dogs", root / "train" / "dogs")
    with pytest.raises(
        DataError, match=r"test/dogs and .*train/dogs are the same folder\. Each split needs its own images"
    ):
        scan_root(root)


@needs_links
def test_split_linked_to_another_split_is_ignored(make_folder: MakeFolder) -> None:
    root = make_folder({f"{split}/{name}": 1 for split in ("train", "test") for name in ("cats", "dogs")})
    link(root / "val", root / "test")
    assert {sample.split for sample in scan_root(root).samples} == {"train", "test"}


@needs_links
def test_broken_file_link_is_listed_and_broken_folder_link_is_not(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    (root / "cats" / "gone.png").symlink_to(root / "none.png")
    link(root / "wolves", root / "none")
    assert images_by_class(scan_root(root)) == {"cats": 2, "dogs": 1}


@pytest.mark.skipif(os.name == "nt", reason="not a name on Windows")
@pytest.mark.parametrize(
    "name",
    [
        "🐈 à la carte.png",
        "line\nbreak.png",
        "tab\tand 'quotes\".png",
        "n" * 251 + ".png",
        pytest.param("caf\udce9.png", marks=pytest.mark.skipif(sys.platform == "darwin", reason="UTF-8 only")),
        "-rf.png",
        "*.png",
        "two.dots.PNG",
    ],
    ids=ascii,
)
def test_images_may_have_any_name(make_folder: MakeFolder, name: str) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    (root / "cats" / "000.png").rename(root / "cats" / name)
    assert [sample.path.name for sample in scan_root(root).samples] == [name, "000.png"]


def test_class_names_may_use_any_script(make_folder: MakeFolder) -> None:
    assert scan_root(make_folder({"猫": 1, "🐕": 1, "chat noir": 1})).class_names == ["chat noir", "猫", "🐕"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 elsewhere")
def test_class_name_that_is_not_utf8_raises_data_error(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    (root / "dogs").rename(root / "caf\udce9")
    with pytest.raises(DataError, match=r"images has a class 'caf\\udce9'\. Expected a UTF-8 name"):
        scan_root(root)


def test_gif_files_are_images(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    for name in ("cats", "dogs"):
        (root / name / "000.png").rename(root / name / "000.gif")
    assert images_by_class(scan_root(root)) == {"cats": 1, "dogs": 1}


@pytest.mark.parametrize("name", [".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found"])
def test_system_folders_are_ignored_at_every_depth(make_folder: MakeFolder, name: str) -> None:
    root = make_folder({"cats": 1, "dogs": 1, f"{name}/cats": 1, f"cats/{name}": 1})
    index = scan_root(root)
    assert images_by_class(index) == {"cats": 1, "dogs": 1}
    assert not index.ignored


def test_other_files_are_counted_by_extension(tmp_path: Path) -> None:
    for name in ("a.txt", "B.TXT", "README", "photo.psd", "photo.svg", ".hidden", "._a.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"")
    ignored: Counter[str] = Counter()
    assert list(iter_image_files(tmp_path, ignored)) == []
    assert ignored == {".txt": 2, "(none)": 1, ".psd": 1, ".svg": 1, ".db": 1}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on Windows")
def test_pipe_with_an_image_name_is_ignored(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 1, "dogs": 1})
    os.mkfifo(root / "cats" / "a.png")
    (root / "cats" / "b.png").symlink_to(os.devnull)
    index = scan_root(root)
    assert (images_by_class(index), index.ignored) == ({"cats": 1, "dogs": 1}, {".png": 2})


def test_unreadable_subfolder_raises_data_error(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({"cats": 1, "dogs/brown": 1})
    scandir = os.scandir

    def locked(folder: str | Path) -> object:
        if Path(folder).name == "brown":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(DataError, match=r"^Cannot list .*brown: Permission denied\. Check its permissions\.$"):
        scan_root(root)


@pytest.mark.skipif(os.name == "nt", reason="such permissions are POSIX's")
def test_unreadable_class_folder_is_named_in_the_error(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"cats": 1, "zz": 1})

    def locking(call: Callable[..., object], *, at: Callable[[Path], Path]) -> Callable[..., object]:
        def locked(path: str | os.PathLike[str], *args: object, **kwargs: object) -> object:
            if at(Path(os.fspath(path))) == root / "zz":
                raise PermissionError(13, "Permission denied", os.fspath(path))
            return call(path, *args, **kwargs)

        return locked

    monkeypatch.setattr(os, "scandir", locking(os.scandir, at=lambda path: path))
    monkeypatch.setattr(os, "stat", locking(os.stat, at=lambda path: path.parent))
    with pytest.raises(DataError, match=r"^Cannot list .*images/zz: Permission denied\. Check its permissions\.$"):
        scan_source(DatasetConfig(root=str(root)))
    with pytest.raises(DataError, match=r"^Cannot list .*images/zz/inside: Permission denied\."):
        scan_source(DatasetConfig(root=str(root / "zz" / "inside")))


def test_listing_a_missing_folder_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^Cannot list .*none: No such file or directory\."):
        list_subfolders(tmp_path / "none")
