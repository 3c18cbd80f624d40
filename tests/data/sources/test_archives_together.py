"""Tests of datasets that consist of several archives."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.resolve import archive_stem, scan_source
from cnn_classifier.errors import DataError

pytestmark = pytest.mark.usefixtures("home")

MakeFolder = Callable[..., Path]


@pytest.fixture
def pack(make_folder: MakeFolder, tmp_path: Path) -> Callable[..., list[str]]:
    """A function that writes archives: `pack({"cats": {"": 2}})` writes `cats.zip` with two images."""

    def make(archives: dict[str, dict[str, int]], project: str = "project") -> list[str]:
        paths = []
        for name, layout in archives.items():
            root = make_folder(layout, size=8, name=f"{project}-{name}")
            paths.append(shutil.make_archive(str(tmp_path / project / name), "zip", root))
        return paths

    return make


def count_images(sources: list[str]) -> dict[tuple[str | None, str], int]:
    """Return the number of images by split and class."""
    scan = scan_source(DatasetConfig(source=sources))
    return Counter((sample.split, scan.class_names[sample.label]) for sample in scan.samples)


SPLIT = {("train", "a"): 2, ("train", "b"): 2, ("test", "a"): 1, ("test", "b"): 1}


@pytest.mark.parametrize(
    ("archives", "expected"),
    [
        ({"train": {"train/a": 2, "train/b": 2}, "test": {"test/a": 1, "test/b": 1}}, SPLIT),
        ({"train": {"a": 2, "b": 2}, "test": {"a": 1, "b": 1}}, SPLIT),
        ({"Training-Set": {"data/a": 2, "data/b": 2}, "test_set": {"test_set/a": 1, "test_set/b": 1}}, SPLIT),
        ({"one": {"data/train/a": 2, "data/train/b": 2}, "two": {"test/test/a": 1, "test/test/b": 1}}, SPLIT),
        ({"one": {"train/a": 2, "test/a": 1}, "two": {"train/b": 2, "test/b": 1}}, SPLIT),
        ({"cats": {"": 2}, "dogs": {"": 1}}, {(None, "cats"): 2, (None, "dogs"): 1}),
        ({"cats": {"cats": 2}, "dogs": {"dogs": 1}}, {(None, "cats"): 2, (None, "dogs"): 1}),
        ({"part1": {"cats": 2}, "part2": {"dogs": 1, "wolves": 1}}, {(None, n): c for n, c in
            [("cats", 2), ("dogs", 1), ("wolves", 1)]}),
    ],
)  # fmt: skip
def test_several_archives_are_read_as_one_dataset(
    pack: Callable[..., list[str]],
    archives: dict[str, dict[str, int]],
    expected: dict[tuple[str | None, str], int],
) -> None:
    assert count_images(pack(archives)) == expected
    assert count_images(pack(archives, "again")[::-1]) == expected


@pytest.mark.parametrize(
    ("archives", "message"),
    [
        (
            {"one": {"a": 1, "b": 1}, "two": {"a": 1, "b": 1}},
            "the archives one and two both contain a. If they are splits",
        ),
        (
            {"train": {"a": 1, "b": 1}, "rest": {"a": 1, "b": 1}},
            "some archives contain splits, others do not. Name all of",
        ),
        ({"val": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}, "has val, test but no train. Add it or set"),
        ({"one": {"cats": 1}, "two": {"cats": 1}}, "the archives one and two both contain cats"),
        ({"cats": {"": 1}, "notes": {"empty": 0}}, "notes/empty contains no images. Add images to this class folder"),
    ],
)
def test_archives_without_a_common_layout_raise_data_error(
    pack: Callable[..., list[str]], archives: dict[str, dict[str, int]], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        count_images(pack(archives))
    assert message in str(raised.value).replace(os.sep, "/")


def test_changed_archives_with_the_same_names_are_extracted_again(
    pack: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for project, images in (("mine", 2), ("yours", 3)):
        pack({"one": {"cats": images}, "two": {"dogs": images}}, project)
        monkeypatch.chdir(tmp_path / project)
        assert count_images(["one.zip", "two.zip"]) == {(None, "cats"): images, (None, "dogs"): images}
    Path("one.zip").replace("two.zip")  # now both paths are missing or another archive
    shutil.copy(tmp_path / "mine" / "one.zip", "one.zip")
    with pytest.raises(DataError, match="the archives one and two both contain cats"):
        count_images(["one.zip", "two.zip"])


def test_archives_with_the_same_name_are_extracted_separately(pack: Callable[..., list[str]]) -> None:
    sources = [*pack({"archive": {"train/a": 1, "train/b": 1}}), *pack({"archive": {"test/a": 1, "test/b": 1}}, "more")]
    assert set(count_images(sources)) == set(SPLIT)


def test_list_entry_that_is_not_an_archive_raises_data_error(pack: Callable[..., list[str]], tmp_path: Path) -> None:
    existing = pack({"cats": {"": 1}})
    for source, reason in ((str(tmp_path / "none.zip"), "does not exist"), (str(tmp_path), "is not a file")):
        with pytest.raises(
            DataError, match=rf"^dataset\.source: .* {reason}\. A list must contain archives and URLs of"
        ):
            count_images([*existing, source])


def test_archive_stem_is_the_name_without_suffix() -> None:
    names = ("photos/cats.tar.gz", "CATS.ZIP", "https://a.invalid/b/big%20cats.tgz?download=1", "cats.v2.zip", ".zip")
    assert [archive_stem(name) for name in names] == ["cats", "CATS", "big cats", "cats.v2", "archive"]
