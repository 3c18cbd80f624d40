"""Reading and writing of splits as CSV files, `split.csv`."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.config import SPLIT_NAMES
from cnn_classifier.data.sources.class_names import compose_accents
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.errors import DataError
from cnn_classifier.files import write_csv

COLUMNS = ("path", "label", "split")
DIGEST_COLUMN = "sha256"  # optional: a file of the user does not have it


def write_split(path: Path, splits: Splits, index: DatasetIndex, digests: Mapping[Path, str] | None = None) -> None:
    """Write splits as CSV, one row per image.

    Args:
        path: The file to write.
        splits: The samples of each split.
        index: The dataset, for the class names and the root of the relative paths.
        digests: The SHA-256 of each file, by which images are recognized under another name.

    Raises:
        StorageError: If the file cannot be written.
    """
    header = COLUMNS if digests is None else (*COLUMNS, DIGEST_COLUMN)
    write_csv(path, [header, *build_split_rows(splits, index, digests)])


def build_split_rows(
    splits: Splits, index: DatasetIndex, digests: Mapping[Path, str] | None = None
) -> list[tuple[str, ...]]:
    """Return the relative path, class name, split and digest of each image, sorted by path within each split."""
    return [
        (
            *(relative_name(sample.path, index), index.class_names[sample.label], split),
            *(() if digests is None else (digests[sample.path],)),
        )
        for split, samples in splits.items()
        for sample in sorted(samples, key=lambda sample: sample.path.as_posix())
    ]


def read_split(path: Path, index: DatasetIndex) -> Splits:
    """Read the splits of a dataset from CSV; images that are not listed are omitted.

    Args:
        path: The file, as written by `write_split`.
        index: The dataset.

    Returns:
        The samples of each split. A run that did not validate or test lists none for these.

    Raises:
        DataError: If the file cannot be read or is malformed, if it lists an image twice or one that is not in the
            dataset, or no image for training.
    """
    remaining = {relative_name(sample.path, index): sample for sample in index.samples}
    splits: Splits = {name: [] for name in SPLIT_NAMES}
    for line, (name, label, split, *_) in read_split_rows(path):
        sample = remaining.pop(name, None)
        if sample is None:
            raise DataError(
                f"{path}, line {line}: {name} is listed twice or is not in {index.root}. "
                "Use the dataset from which the split was created."
            )
        if compose_accents(label) != index.class_names[sample.label] or split not in splits:
            raise DataError(
                f"{path}, line {line}: Label {label!r} or split {split!r} is invalid. "
                f"Expected label {index.class_names[sample.label]!r} and one of the splits {', '.join(SPLIT_NAMES)}."
            )
        splits[split].append(replace(sample, split=split))
    if not splits["train"]:
        raise DataError(f"{path} lists no image for the train split. Expected images for training.")
    return splits


def read_split_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Read the line number and the cells of every row after the header.

    Raises:
        DataError: If the file cannot be read, or does not have the columns of a `split.csv`.
    """
    try:
        # File names are not always valid UTF-8.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, csv.Error) as error:
        raise DataError(
            f"Cannot read the split file {path}: {error}. dataset.split_file expects the split.csv of a run."
        ) from error
    header = tuple(rows[0][1]) if rows else ()
    if header not in (COLUMNS, (*COLUMNS, DIGEST_COLUMN)) or any(len(row) != len(header) for _, row in rows):
        raise DataError(
            f"The split file {path} has invalid columns. dataset.split_file expects {','.join(COLUMNS)} in every row."
        )
    return rows[1:]


def read_split_digests(path: Path) -> dict[str, str]:
    """Read the split of each image by its SHA-256, `train` if it is in several; empty without such a file."""
    try:
        rows = [row for _, row in read_split_rows(path) if len(row) > len(COLUMNS)]
    except DataError:
        return {}
    return {row[-1]: row[2] for row in sorted(rows, key=lambda row: row[2] == "train")}


def relative_name(path: Path, index: DatasetIndex) -> str:
    """Return a path relative to the dataset root, or the absolute path of a file outside it, with forward slashes."""
    return path.absolute().as_posix().removeprefix(f"{index.root.absolute().as_posix()}/")
