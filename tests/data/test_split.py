"""Every image has one place, the same one for the same seed, and `split.csv` brings it back."""

from collections import Counter
from pathlib import Path

import pytest

from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.split import Splits, read_split, split_samples, write_split
from cnn_classifier.errors import DataError

ROOT = Path("/pictures")  # nothing is read: a split needs paths only


def pictures(counts: dict[str, int], *splits: str | None) -> Scan:
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
    assert sum(map(len, splits.values())) == len(set().union(*names(splits).values())) == 120


def test_the_smallest_class_still_has_an_image_in_every_split() -> None:
    assert counts(split(pictures({"cats": 40, "dogs": 3})))["train"][1] == 1
    assert all(of_dogs == 1 for _, of_dogs in counts(split(pictures({"cats": 40, "dogs": 3}))).values())


@pytest.mark.parametrize("options", [{}, {"folds": 3, "fold": 1}])
def test_a_class_too_small_for_every_split_is_named(options: dict[str, int]) -> None:
    with pytest.raises(DataError, match=r"^class 'dogs' has too few images to be in the (train|val|test) split; add"):
        split(pictures({"cats": 40, "dogs": 1}), **options)


def test_the_seed_alone_decides() -> None:
    scan = pictures({"cats": 30, "dogs": 30})
    assert names(split(scan, seed=1)) == names(split(scan, seed=1))
    assert names(split(scan, seed=1)) != names(split(scan, seed=2))
    backwards = Scan(ROOT, scan.samples[::-1], scan.class_names, Counter())
    assert names(split(backwards, limit_per_class=20)) == names(split(scan, limit_per_class=20))


def test_validation_is_split_off_train_where_it_has_no_folder() -> None:
    scan = pictures({"cats": 20, "dogs": 20}, "train", "test")
    splits = split(scan)
    assert counts(splits) == {"train": [18, 18], "val": [2, 2], "test": [20, 20]}
    assert all("/train/" in path for path in names(splits)["val"])
    assert all("/test/" in path for path in names(splits)["test"])


def test_the_test_split_is_taken_off_train_where_it_has_no_folder() -> None:
    splits = split(pictures({"cats": 20, "dogs": 20}, "train", "val"))
    assert counts(splits) == {"train": [16, 16], "val": [20, 20], "test": [4, 4]}
    assert all("/train/" in path for path in names(splits)["test"])


def test_three_folders_stay_as_they_are() -> None:
    splits = split(pictures({"cats": 5, "dogs": 5}, "train", "val", "test"))
    assert {name: {sample.split for sample in samples} for name, samples in splits.items()} == {
        "train": {"train"},
        "val": {"val"},
        "test": {"test"},
    }


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
    assert all(fold["train"] | fold["val"] == learned_from for fold in folds)
    assert all(len(fold["test"]) == 20 for fold in folds)


def test_a_limit_takes_as_many_of_each_class_from_each_folder() -> None:
    assert counts(split(pictures({"cats": 50, "dogs": 30}, "train", "test"), limit_per_class=10)) == {
        "train": [9, 9],
        "val": [1, 1],
        "test": [10, 10],
    }


def test_a_written_split_reads_back_the_same(tmp_path: Path) -> None:
    scan = pictures({"cats": 20, "dogs": 20, "naïve, \"birds\"": 20})
    splits = split(scan)
    write_split(tmp_path / "split.csv", splits, scan)
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").startswith("path,label,split\n")
    assert names(split(scan, seed=7, split_file=str(tmp_path / "split.csv"))) == names(splits)


def test_images_that_a_split_file_does_not_name_are_left_out(tmp_path: Path) -> None:
    scan = pictures({"cats": 20, "dogs": 20})
    splits = {name: samples for name, samples in split(scan, limit_per_class=10).items()}
    write_split(tmp_path / "split.csv", splits, scan)
    assert sum(map(len, read_split(tmp_path / "split.csv", scan).values())) == 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label,split\n", r"has other columns; expected path,label,split on every line$"),
        ("path,label,split\ncats/000.png,cats\n", r"has other columns; expected path,label,split on every line$"),
        ("", r"has other columns"),
        ("path,label,split\ncats/000.png,cats,exam\n", r"line 2: .*split 'exam'; expected .* train, val, test$"),
        ("path,label,split\ncats/000.png,dogs,test\n", r"line 2: label 'dogs'.*expected label 'cats'"),
        (
            "path,label,split\ncats/000.png,cats,test\nbirds/9.png,birds,test\n",
            r"line 3: birds/9\.png is not below .*pictures; give the folder it was made from$",
        ),
        ("path,label,split\ncats/000.png,cats,train\n", r"^class 'dogs' has too few images to be in the train split"),
        ("path,label,split\n\xff", r"^dataset\.split_file: .*split\.csv cannot be read .*; give the split\.csv of a run$"),
        (None, r"^dataset\.split_file: .*split\.csv cannot be read \(.*No such file"),
    ],
)
def test_a_split_file_that_does_not_fit_is_told_apart(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "split.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "split.csv", pictures({"cats": 2, "dogs": 2}))
