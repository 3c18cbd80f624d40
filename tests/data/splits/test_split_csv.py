"""`split.csv` brings a split back, wherever the folder lies, and says where it does not fit."""

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


def pictures(*class_names: str, root: Path = Path("/pictures"), count: int = 2) -> DatasetIndex:
    """So many images of each class; nothing is read, paths are enough."""
    samples = [
        Sample(root / name / f"{index:03d}.png", label)
        for label, name in enumerate(class_names)
        for index in range(count)
    ]
    return DatasetIndex(root, samples, list(class_names), Counter())


def names(splits: Splits, scan: DatasetIndex) -> dict[str, set[str]]:
    return {
        name: {sample.path.relative_to(scan.root).as_posix() for sample in samples} for name, samples in splits.items()
    }


def test_a_written_split_reads_back_the_same_where_the_folder_has_moved(tmp_path: Path) -> None:
    classes = ("cats", "dogs", 'naïve, "birds"')
    scan, moved = pictures(*classes, count=20), pictures(*classes, count=20, root=Path("/elsewhere"))
    splits = split_samples(scan, DatasetConfig(), seed=1)
    write_split(tmp_path / "split.csv", splits, scan)
    again = read_split(tmp_path / "split.csv", moved)
    assert names(again, moved) == names(splits, scan)
    assert {name: {sample.split for sample in samples} for name, samples in again.items()} == {s: {s} for s in again}


def test_every_line_names_path_class_and_split_in_order(tmp_path: Path) -> None:
    scan = pictures("cats", "dogs")
    elsewhere = Sample(Path("/more/cat.png").absolute(), 0)
    write_split(tmp_path / "split.csv", {"train": [*scan.samples[::-1], elsewhere], "val": [], "test": []}, scan)
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").split() == [
        "path,label,split",
        f"{elsewhere.path.as_posix()},cats,train",
        "cats/000.png,cats,train",
        "cats/001.png,cats,train",
        "dogs/000.png,dogs,train",
        "dogs/001.png,dogs,train",
    ]


def test_images_that_it_does_not_name_are_left_out(tmp_path: Path) -> None:
    rows = [f"{name}/00{index}.png,{name},{split}" for name in ("cats", "dogs") for index, split in enumerate(SPLITS)]
    (tmp_path / "split.csv").write_text(HEADER + "\n".join(rows), encoding="utf-8-sig")  # as spreadsheets save it
    scan = pictures("cats", "dogs", count=5)
    assert names(read_split(tmp_path / "split.csv", scan), scan) == {
        split: {f"cats/00{index}.png", f"dogs/00{index}.png"} for index, split in enumerate(SPLITS)
    }


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no names that are no text")
def test_a_name_that_is_no_utf_8_keeps_its_bytes(tmp_path: Path) -> None:
    scan = pictures("cats", "dogs", count=3)
    odd = Sample(scan.root / "cats" / b"caf\xe9.png".decode("utf-8", "surrogateescape"), 0)
    scan.samples.append(odd)
    splits = {split: [s for s in scan.samples if s.path.stem == f"00{i}"] for i, split in enumerate(SPLITS)}
    splits["train"].append(odd)
    write_split(tmp_path / "split.csv", splits, scan)
    assert b"cats/caf\xe9.png" in (tmp_path / "split.csv").read_bytes()
    assert odd.path in {sample.path for sample in read_split(tmp_path / "split.csv", scan)["train"]}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label,split\n", r"has other columns; expected path,label,split on every line$"),
        (f"{HEADER}cats/000.png,cats\n", r"has other columns; expected path,label,split on every line$"),
        (f"{HEADER}cats/000.png,cats,exam\n", r"line 2: .*split 'exam'; expected .* train, val, test$"),
        (f"{HEADER}cats/000.png,dogs,test\n", r"line 2: label 'dogs'.*expected label 'cats'"),
        (f"{HEADER}\nbirds/9.png,birds,test\n", r"line 3: birds/9\.png is named twice, or not below .*pictures; give"),
        (f"{HEADER}cats/000.png,cats,train\ncats/000.png,cats,val\n", r"line 3: cats/000\.png is named twice"),
        (f"{HEADER}cats/000.png,cats,train\n", r"^class 'dogs' has too few images to be in the train split"),
        (f"{HEADER}\xff", r"^dataset\.split_file: .*split\.csv has other columns; expected path,label,split on every"),
        ("", r"^dataset\.split_file: .*split\.csv has other columns"),
        (f"{HEADER}\0", r"^dataset\.split_file: .*split\.csv (cannot be read|has other columns)"),
        (None, r"^dataset\.split_file: .*split\.csv cannot be read \(.*No such file.*\); give the split\.csv of a run"),
    ],
)
def test_a_split_file_that_does_not_fit_says_where(tmp_path: Path, rows: str | None, message: str) -> None:
    if rows is not None:
        (tmp_path / "split.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.csv", pictures("cats", "dogs"))


def test_what_is_no_folder_cannot_be_written_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write .*split\.csv \(\d+ bytes\): "):
        write_split(tmp_path / "file" / "split.csv", {}, pictures("cats"))
