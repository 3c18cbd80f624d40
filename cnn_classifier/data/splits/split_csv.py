"""A split written down, `split.csv`, and taken up again."""

import csv
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.config import SPLIT_NAMES
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import Splits, check_class_coverage
from cnn_classifier.errors import DataError
from cnn_classifier.files import write_csv

COLUMNS = ("path", "label", "split")


def write_split(path: Path, splits: Splits, scan: DatasetIndex) -> None:
    """Write one line an image."""
    write_csv(path, [COLUMNS, *build_split_rows(splits, scan)])


def build_split_rows(splits: Splits, scan: DatasetIndex) -> list[tuple[str, str, str]]:
    """Path below the scanned folder, class name and split of each image."""
    return [
        (relative_name(sample.path, scan), scan.class_names[sample.label], split)
        for split, samples in splits.items()
        for sample in sorted(samples, key=lambda sample: sample.path.as_posix())
    ]


def read_split(path: Path, scan: DatasetIndex) -> Splits:
    """The splits of a `split.csv`; images that it does not name are left out.

    Raises:
        DataError: If it is missing, malformed, names an image twice, or one that the folder does not hold.
    """
    remaining = {relative_name(sample.path, scan): sample for sample in scan.samples}
    splits: Splits = {name: [] for name in SPLIT_NAMES}
    for line, (name, label, split) in read_split_rows(path):
        sample = remaining.pop(name, None)
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
    check_class_coverage(splits, scan.class_names)
    return splits


def read_split_rows(path: Path) -> list[tuple[int, list[str]]]:
    """The line number and the cells of every row but the first."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:  # names may be no UTF-8
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, csv.Error) as error:
        raise DataError(f"dataset.split_file: {path} cannot be read ({error}); give the split.csv of a run") from error
    if not rows or tuple(rows[0][1]) != COLUMNS or any(len(row) != len(COLUMNS) for _, row in rows):
        raise DataError(f"dataset.split_file: {path} has other columns; expected {','.join(COLUMNS)} on every line")
    return rows[1:]


def relative_name(path: Path, scan: DatasetIndex) -> str:
    """A file's path below the scanned folder, or whole if it lies elsewhere; forward slashes on every system."""
    return path.absolute().as_posix().removeprefix(f"{scan.root.absolute().as_posix()}/")
