"""Scanning of CSV files that list images and their classes."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cnn_classifier.data.images.file_types import EXTENSIONS, is_image_file
from cnn_classifier.data.sources.class_names import check_class_names, compose_accents
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.layout import SPLIT_BY_FOLDER_NAME, parse_split_name
from cnn_classifier.errors import DataError

DELIMITERS = ",;\t"
REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("split", "group")


def scan_csv(path: Path, root: Path | None = None) -> DatasetIndex:
    """Index the images that a CSV file lists; the image files themselves are not opened.

    The header names the columns in any order: `path` (absolute, or relative to `root`), `label`, and optionally
    `split` and `group`; other columns are ignored. The delimiter is a comma, a semicolon or a tab. Images with an empty
    `split` are assigned to a split later.

    Args:
        path: The CSV file.
        root: The folder of the images, by default that of the CSV file.

    Raises:
        DataError: If the file cannot be read, lacks a column, or has an invalid line, which is named in the message.
    """
    root = root or path.parent
    line_by_path: dict[Path, int] = {}
    entries: list[tuple[Path, str, str | None, str | None]] = []
    for line, row in iter_csv_rows(path):
        location = f"{path}, line {line}"
        image = resolve_image_path(row["path"], root, where=location)
        first_line = line_by_path.setdefault(image, line)
        if first_line != line:
            raise DataError(
                f"{location}: {row['path']!r} is already listed in line {first_line}. List every image once."
            )
        if not row["label"]:
            raise DataError(f"{location}: the label is empty. Expected a class name.")
        entries.append(
            (image, compose_accents(row["label"]), parse_split_cell(row["split"], where=location), row["group"] or None)
        )
    class_names = sorted({label for _, label, _, _ in entries})
    if len(class_names) < 2:
        problem = f"only one class ({class_names[0]})" if class_names else "no images"
        raise DataError(f"{path} lists {problem}. Expected at least two classes.")
    check_class_names(class_names, where=str(path))
    labels = {name: label for label, name in enumerate(class_names)}
    samples = [Sample(image, labels[label], split, group) for image, label, split, group in sorted(entries)]
    return DatasetIndex(root, samples, class_names, Counter())


def iter_csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the cells, by column name, of every row that is not empty."""
    try:
        with path.open(
            newline="", encoding="utf-8-sig", errors="surrogateescape"
        ) as file:  # file names may not be UTF-8
            delimiter = max(DELIMITERS, key=file.readline().count)
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            header = [name.strip().lower() for name in next(rows, [])]
            missing = [name for name in REQUIRED_COLUMNS if name not in header]
            if missing:
                columns = " and ".join(missing)
                raise DataError(
                    f"{path}, line 1: missing column {columns}. Expected a header such as path,label,split."
                )
            for cells in filter(None, rows):
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {rows.line_num}: {len(cells)} cells. Expected {len(header)} as in the header, "
                        "with quotes around cells that contain the delimiter."
                    )
                row = dict(zip(header, cells, strict=True))
                values = {name: row.get(name, "").strip() for name in ("label", *OPTIONAL_COLUMNS)}
                yield rows.line_num, {"path": row["path"]} | values
    except (OSError, csv.Error) as error:
        raise DataError(f"Cannot read {path} as CSV: {error}.") from error


def check_listed_files(table: str, index: DatasetIndex, max_missing: float) -> None:
    """Raise DataError if more than this fraction of the images that a CSV file lists do not exist."""
    missing = [sample.path for sample in index.samples if not sample.path.exists()]
    if missing and (len(missing) > max_missing * len(index.samples) or len(missing) == len(index.samples)):
        raise DataError(
            f"{table} lists {len(missing)} of {len(index.samples)} images that do not exist, such as {missing[0]}. "
            "Correct the paths, or set dataset.root to the folder that they are relative to."
        )


def resolve_image_path(name: str, folder: Path, *, where: str) -> Path:
    """Return the path of a listed file.

    An absolute path is used as it is. A relative path must lie below the folder of the images: `../` is more often a
    wrong `dataset.root` than intended.
    """
    root = Path(os.path.normpath(folder.absolute()))
    # The path is checked without resolving links, since links were created by the user and not by the CSV file.
    path = Path(os.path.normpath(root / name.replace("\\", "/")))
    is_inside, is_absolute = path.is_relative_to(root), Path(name).is_absolute()
    if "\0" in name or not (is_inside or is_absolute):
        raise DataError(
            f"{where}: {name!r} is not below {folder}. Move the CSV file or the images, or set dataset.root."
        )
    if path.suffix.lower() not in EXTENSIONS and not is_image_file(path):
        raise DataError(f"{where}: {name!r} is not an image. Expected the path of an image with its extension.")
    return folder / path.relative_to(root) if is_inside else path


def parse_split_cell(value: str, *, where: str) -> str | None:
    """Return `train`, `val` or `test` for a split name or one of its synonyms; None if the cell is empty."""
    if value and parse_split_name(value) is None:
        raise DataError(
            f"{where}: unknown split {value!r}. Expected {', '.join(SPLIT_BY_FOLDER_NAME)} or an empty cell."
        )
    return parse_split_name(value)
