"""Every image has one place, the same one for the same seed, and `split.csv` brings it back."""

from collections import Counter
from pathlib import Path

import pytest

from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.split import Splits, read_split, split_samples, write_split
from cnn_classifier.errors import DataError

ROOT = Path("/pictures")  # nothing is read: a split needs paths only


def pictures(counts: dict[str, int], *splits: str) -> Scan:
    """So many images of each class, in each of the split folders or in none."""
    class_names = sorted(counts)
    samples = [
        Sample(ROOT / (split or "") / name / f"{index:03d}.png", class_names.index(name), split)
        for split in splits or (None,)
        for name in class_names
        for index in range(counts[name])
    ]
    return Scan(ROOT, samples, class_names, Counter())


def split(scan: Scan, *, seed: int = 1, **options: object) -> Splits:
    return split_samples(scan, DatasetOptions(root=str(ROOT), **options), seed)


def names(splits: Splits) -> dict[str, set[str]]:
    return {name: {sample.path.as_posix() for sample in samples} for name, samples in splits.items()}


def counts(splits: Splits) -> dict[str, list[int]]:
    """Images of the first and of the second class in each split."""
    return {name: [[s.label for s in samples].count(label) for label in (0, 1)] for name, samples in splits.items()}


def test_every_class_is_shared_out_by_the_same_fractions() -> None:
    splits = split(pictures({"cats": 100, "dogs": 20}))
    assert counts(splits) == {"train": [70, 14], "val": [10, 2], "test": [20, 4]}
    assert len(set().union(*names(splits).values())) == 120


def test_the_smallest_class_has_an_image_in_every_split_or_is_named() -> None:
    assert counts(split(pictures({"cats": 40, "dogs": 3}))) == {"train": [28, 1], "val": [4, 1], "test": [8, 1]}
    too_few = r"^class 'dogs' has too few images to be in the {} split; add images, or lower dataset\.folds"
    with pytest.raises(DataError, match=too_few.format("train")):
        split(pictures({"cats": 40, "dogs": 2}))
    with pytest.raises(DataError, match=too_few.format("test")):
        split(pictures({"cats": 40, "dogs": 3}), folds=4, fold=3)


def test_the_seed_alone_decides_not_the_order_of_the_listing() -> None:
    scan = pictures({"cats": 30, "dogs": 30})
    backwards = Scan(ROOT, scan.samples[::-1], scan.class_names, Counter())
    assert names(split(scan, limit_per_class=20)) == names(split(backwards, limit_per_class=20))
    assert names(split(scan, seed=1)) != names(split(scan, seed=2))


def test_what_has_no_folder_is_taken_off_train_alone() -> None:
    no_val = split(pictures({"cats": 20, "dogs": 20}, "train", "test"))
    assert counts(no_val) == {"train": [18, 18], "val": [2, 2], "test": [20, 20]}
    assert {sample.split for sample in no_val["val"]} == {"train"}
    no_test = split(pictures({"cats": 20, "dogs": 20}, "train", "val"))
    assert counts(no_test) == {"train": [16, 16], "val": [20, 20], "test": [4, 4]}
    assert {sample.split for sample in no_test["test"]} == {"train"}
    all_there = split(pictures({"cats": 5, "dogs": 5}, "train", "val", "test"))
    assert {name: {sample.split for sample in all_there[name]} for name in all_there} == {s: {s} for s in all_there}


def test_the_held_out_parts_of_all_folds_are_the_whole() -> None:
    scan = pictures({"cats": 22, "dogs": 13})
    held_out = [names(split(scan, folds=5, fold=fold))["test"] for fold in range(5)]
    assert sum(map(len, held_out)) == 35
    assert set().union(*held_out) == {sample.path.as_posix() for sample in scan.samples}


@pytest.mark.parametrize("folders", [("train", "test"), ("train", "val", "test")])
def test_a_fold_becomes_validation_where_there_is_a_test_folder(folders: tuple[str, ...]) -> None:
    scan = pictures({"cats": 10, "dogs": 10}, *folders)
    folds = [names(split(scan, folds=5, fold=fold)) for fold in range(5)]
    learned_from = {sample.path.as_posix() for sample in scan.samples if sample.split != "test"}
    assert set().union(*(fold["val"] for fold in folds)) == learned_from
    assert all(fold["train"] == learned_from - fold["val"] for fold in folds)
    assert all(len(fold["test"]) == 20 for fold in folds)


def test_a_limit_takes_as_many_of_each_class_from_each_folder() -> None:
    limited = split(pictures({"cats": 50, "dogs": 30}, "train", "test"), limit_per_class=10)
    assert counts(limited) == {"train": [9, 9], "val": [1, 1], "test": [10, 10]}


def test_a_written_split_reads_back_the_same_and_leaves_out_what_it_does_not_name(tmp_path: Path) -> None:
    scan = pictures({"cats": 20, "dogs": 20, 'naïve, "birds"': 20})
    splits = split(scan, limit_per_class=10)
    write_split(tmp_path / "split.csv", splits, scan)
    assert names(split(scan, seed=7, split_file=str(tmp_path / "split.csv"))) == names(splits)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label,split\n", r"has other columns; expected path,label,split on every line$"),
        ("path,label,split\ncats/000.png,cats\n", r"has other columns; expected path,label,split on every line$"),
        ("path,label,split\ncats/000.png,cats,exam\n", r"line 2: .*split 'exam'; expected .* train, val, test$"),
        ("path,label,split\ncats/000.png,dogs,test\n", r"line 2: label 'dogs'.*expected label 'cats'"),
        (
            "path,label,split\n\nbirds/9.png,birds,test\n",
            r"line \d: birds/9\.png is named twice, or not below .*pictures; give the folder",
        ),
        ("path,label,split\ncats/000.png,cats,train\n", r"^class 'dogs' has too few images to be in the train split"),
        (
            "path,label,split\n\xff",
            r"^dataset\.split_file: .*split\.csv has other columns; expected path,label,split on every line$",
        ),
        (None, r"^dataset\.split_file: .*split\.csv cannot be read \(.*No such file"),
    ],
)
def test_a_split_file_that_does_not_fit_says_where(tmp_path: Path, rows: str | None, message: str) -> None:
    if rows is not None:
        (tmp_path / "split.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.csv", pictures({"cats": 2, "dogs": 2}))
