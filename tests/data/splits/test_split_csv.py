"""Tests of reading and writing `split.csv`."""

import sys
from collections import Counter
from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.split import Splits, split_samples
from cnn_classifier.data.splits.split_csv import read_split, write_split
from cnn_classifier.errors import DataError, StorageError

HEADER = "path,label,split\n"
SPLITS = ("train", "val", "test")


def dataset(*class_names: str, root: Path = Path("/images"), count: int = 2) -> DatasetIndex:
    """Return the index of a dataset with `count` images of each class; the files do not exist."""
    samples = [
        Sample(root / name / f"{index:03d}.png", label)
        for label, name in enumerate(class_names)
        for index in range(count)
    ]
    return DatasetIndex(root, samples, list(class_names), Counter())


def names(splits: Splits, index: DatasetIndex) -> dict[str, set[str]]:
    return {
        name: {sample.path.relative_to(index.root).as_posix() for sample in samples} for name, samples in splits.items()
    }


def test_split_round_trips_after_the_dataset_moved(tmp_path: Path) -> None:
    classes = ("cats", "dogs", 'naïve, "birds"')
    index, moved_index = dataset(*classes, count=20), dataset(*classes, count=20, root=Path("/elsewhere"))
    splits = split_samples(index, DatasetConfig(), seed=1)
    write_split(tmp_path / "split.csv", splits, index)
    restored = read_split(tmp_path / "split.csv", moved_index)
    assert names(restored, moved_index) == names(splits, index)
    assert {name: {sample.split for sample in samples} for name, samples in restored.items()} == {
        s: {s} for s in restored
    }


def test_rows_have_path_label_and_split_sorted_by_path(tmp_path: Path) -> None:
    index = dataset("cats", "dogs")
    elsewhere = Sample(Path("/extra/cat.png").absolute(), 0)
    write_split(tmp_path / "split.csv", {"train": [*index.samples[::-1], elsewhere], "val": [], "test": []}, index)
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").split() == [
        "path,label,split",
        f"{elsewhere.path.as_posix()},cats,train",
        "cats/000.png,cats,train",
        "cats/001.png,cats,train",
        "dogs/000.png,dogs,train",
        "dogs/001.png,dogs,train",
    ]


def test_unlisted_images_are_omitted(tmp_path: Path) -> None:
    rows = [f"{name}/00{index}.png,{name},{split}" for name in ("cats", "dogs") for index, split in enumerate(SPLITS)]
    (tmp_path / "split.csv").write_text(
        HEADER + "\n".join(rows), encoding="utf-8-sig"
    )  # with the byte order mark that spreadsheets add
    index = dataset("cats", "dogs", count=5)
    assert names(read_split(tmp_path / "split.csv", index), index) == {
        split: {f"cats/00{index}.png", f"dogs/00{index}.png"} for index, split in enumerate(SPLITS)
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows file names are valid Unicode")
def test_file_name_that_is_not_utf_8_keeps_its_bytes(tmp_path: Path) -> None:
    index = dataset("cats", "dogs", count=3)
    sample = Sample(index.root / "cats" / b"caf\xe9.png".decode("utf-8", "surrogateescape"), 0)
    index.samples.append(sample)
    splits = {split: [s for s in index.samples if s.path.stem == f"00{i}"] for i, split in enumerate(SPLITS)}
    splits["train"].append(sample)
    write_split(tmp_path / "split.csv", splits, index)
    assert b"cats/caf\xe9.png" in (tmp_path / "split.csv").read_bytes()
    assert sample.path in {sample.path for sample in read_split(tmp_path / "split.csv", index)["train"]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label,split\n", r"has invalid columns\. dataset\.split_file expects path,label,split in every row\.$"),
        (
            f"{HEADER}cats/000.png,cats\n",
            r"has invalid columns\. dataset\.split_file expects path,label,split in every row\.$",
        ),
        (f"{HEADER}cats/000.png,cats,exam\n", r"line 2: .*split 'exam' is invalid\. Expected .* train, val, test\.$"),
        (f"{HEADER}cats/000.png,dogs,test\n", r"line 2: Label 'dogs'.*Expected label 'cats'"),
        (f"{HEADER}\nbirds/9.png,birds,test\n", r"line 3: birds/9\.png is listed twice or is not in .*images\. Use"),
        (f"{HEADER}cats/000.png,cats,train\ncats/000.png,cats,val\n", r"line 3: cats/000\.png is listed twice"),
        (f"{HEADER}cats/000.png,cats,val\n", r"split\.csv lists no image for the train split\. Expected"),
        (f"{HEADER}\xff", r"^The split file .*split\.csv has invalid columns\. dataset\.split_file expects path,label"),
        ("", r"^The split file .*split\.csv has invalid columns"),
        (f"{HEADER}\0", r"(Cannot read the|The) split file .*split\.csv(: | has invalid columns)"),
        (None, r"^Cannot read the split file .*split\.csv: .*No such file.*\. dataset\.split_file expects the"),
    ],
)
def test_invalid_split_file_raises_data_error_with_location(tmp_path: Path, rows: str | None, message: str) -> None:
    if rows is not None:
        (tmp_path / "split.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.csv", dataset("cats", "dogs"))


def test_write_split_into_a_file_raises_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write .*split\.csv \(\d+ bytes\): "):
        write_split(tmp_path / "file" / "split.csv", {}, dataset("cats"))
