"""Assign images to train, val and test: stratified, seeded, and written down as `split.csv`."""

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.options import SPLIT_NAMES, DatasetOptions
from cnn_classifier.errors import DataError
from cnn_classifier.storage import write_csv

Splits = dict[str, list[Sample]]
COLUMNS = ("path", "label", "split")


def split_samples(scan: Scan, options: DatasetOptions, seed: int) -> Splits:
    """The samples of train, val and test.

    Splits that came as folders stay as they are. What has no folder is taken from the training images, class by
    class. With `folds`, part number `fold` becomes the test split, or the validation split where a test folder exists.

    Raises:
        DataError: If a class has too few images to be in every split, or the split file does not fit the folder.
    """
    if options.split_file:
        return read_split(Path(options.split_file).expanduser(), scan)
    samples = limited(scan.samples, options.limit_per_class, seed)
    splits: Splits = {
        "train": [sample for sample in samples if sample.split in (None, "train")],
        "val": [sample for sample in samples if sample.split == "val"],
        "test": [sample for sample in samples if sample.split == "test"],
    }
    if options.folds:
        held_out = "val" if splits["test"] else "test"
        splits["train"] += splits[held_out]
        splits["train"], splits[held_out] = take_fold(splits["train"], options.folds, options.fold, seed)
    # Fractions are of all images: validation must not shrink because the test split was taken first.
    val_fraction = options.val_fraction / (1 if splits["test"] else 1 - options.test_fraction)
    if not splits["test"]:
        splits["train"], splits["test"] = take_fraction(splits["train"], options.test_fraction, seed)
    if not splits["val"]:
        splits["train"], splits["val"] = take_fraction(splits["train"], val_fraction, seed)
    require_every_class(splits, scan.class_names)
    return splits


def by_label(samples: Iterable[Sample], seed: int) -> dict[int, list[Sample]]:
    """The samples of each class in an order that depends on the seed, not on the order they came in."""
    grouped: defaultdict[int, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.path.as_posix()):
        grouped[sample.label].append(sample)
    return {
        label: [members[index] for index in np.random.default_rng([seed, label]).permutation(len(members))]
        for label, members in sorted(grouped.items())
    }


def limited(samples: list[Sample], limit_per_class: int | None, seed: int) -> list[Sample]:
    """At most so many images of each class from each folder."""
    if limit_per_class is None:
        return samples
    return [
        sample
        for split in (None, *SPLIT_NAMES)
        for members in by_label((sample for sample in samples if sample.split == split), seed).values()
        for sample in members[:limit_per_class]
    ]


def take_fraction(samples: list[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and this share of every class: at least one image of each."""
    kept: list[Sample] = []
    taken: list[Sample] = []
    for members in by_label(samples, seed).values():
        count = max(1, round(len(members) * fraction))
        taken += members[:count]
        kept += members[count:]
    return kept, taken


def take_fold(samples: list[Sample], folds: int, fold: int, seed: int) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and the given one of so many even parts of every class."""
    kept: list[Sample] = []
    taken: list[Sample] = []
    for members in by_label(samples, seed).values():
        for index, sample in enumerate(members):
            (taken if index % folds == fold else kept).append(sample)
    return kept, taken


def require_every_class(splits: Splits, class_names: list[str]) -> None:
    """Raise DataError unless every split has an image of every class."""
    for split, samples in splits.items():
        present = {sample.label for sample in samples}
        for label, name in enumerate(class_names):
            if label not in present:
                raise DataError(
                    f"class {name!r} has too few images to be in the {split} split; "
                    "add images, or lower dataset.folds or dataset.val_fraction and test_fraction"
                )


def write_split(path: Path, splits: Splits, scan: Scan) -> None:
    """Write one line an image: its path below the scanned folder, its class name and its split."""
    rows = [
        (relative_path(sample, scan), scan.class_names[sample.label], split)
        for split, samples in splits.items()
        for sample in sorted(samples, key=lambda sample: sample.path.as_posix())
    ]
    write_csv(path, [COLUMNS, *rows])


def read_split(path: Path, scan: Scan) -> Splits:
    """The splits of a `split.csv`; images that it does not name are left out.

    Raises:
        DataError: If it is missing, malformed, names an image twice, or one that the folder does not hold.
    """
    known = {relative_path(sample, scan): sample for sample in scan.samples}
    splits: Splits = {name: [] for name in SPLIT_NAMES}
    for line, (name, label, split) in enumerate(read_rows(path), start=2):
        sample = known.pop(name, None)
        if sample is None:
            raise DataError(
                f"{path}, line {line}: {name} is named twice, or not below {scan.root}; give the folder it is of"
            )
        if label != scan.class_names[sample.label] or split not in splits:
            raise DataError(
                f"{path}, line {line}: label {label!r}, split {split!r}; "
                f"expected label {scan.class_names[sample.label]!r} and a split of {', '.join(SPLIT_NAMES)}"
            )
        splits[split].append(replace(sample, split=split))
    require_every_class(splits, scan.class_names)
    return splits


def read_rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, csv.Error) as error:
        raise DataError(f"dataset.split_file: {path} cannot be read ({error}); give the split.csv of a run") from error
    if not rows or tuple(rows[0]) != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise DataError(f"dataset.split_file: {path} has other columns; expected {','.join(COLUMNS)} on every line")
    return rows[1:]


def relative_path(sample: Sample, scan: Scan) -> str:
    """The sample's path below the scanned folder, or whole if it lies elsewhere; forward slashes on every system."""
    path, root = sample.path.absolute(), scan.root.absolute()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
