"""Read which image is of which class from a CSV, in place of folders."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cnn_classifier.data.images.decode import EXTENSIONS
from cnn_classifier.data.sources.class_names import check_class_names
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.layout import SPLIT_BY_FOLDER_NAME, parse_split_name
from cnn_classifier.errors import DataError

DELIMITERS = ",;\t"
REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("split", "group")


def scan_csv(path: Path) -> DatasetIndex:
    """The images that a CSV lists; whether they are there shows when they are read.

    The header names the columns, in any order: `path` (below the CSV's folder), `label`, and where wanted `split`
    and `group`; others are passed over. Columns are parted by comma, semicolon or tab, as the header is. An empty split
    is ours to assign.

    Raises:
        DataError: If the CSV cannot be read, lacks a column, or a line cannot be used; the message names the line.
    """
    line_by_path: dict[Path, int] = {}
    entries: list[tuple[Path, str, str | None, str | None]] = []
    for line, row in iter_csv_rows(path):
        location = f"{path}, line {line}"
        image = resolve_image_path(row["path"], path.parent, where=location)
        first_line = line_by_path.setdefault(image, line)
        if first_line != line:
            raise DataError(f"{location}: {row['path']!r} stands in line {first_line} already; list every image once")
        if not row["label"]:
            raise DataError(f"{location}: the label is empty; expected the name of a class")
        entries.append((image, row["label"], parse_split_cell(row["split"], where=location), row["group"] or None))
    class_names = sorted({label for _, label, _, _ in entries})
    if len(class_names) < 2:
        problem = f"one class only ({class_names[0]})" if class_names else "no images"
        raise DataError(f"{path} lists {problem}; expected at least two classes")
    check_class_names(class_names, where=str(path))
    labels = {name: label for label, name in enumerate(class_names)}
    samples = [Sample(image, labels[label], split, group) for image, label, split, group in sorted(entries)]
    return DatasetIndex(path.parent, samples, class_names, Counter())


def iter_csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the cells, by column, of every row that is not empty."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:  # names may be no UTF-8
            delimiter = max(DELIMITERS, key=file.readline().count)
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            header = [name.strip().lower() for name in next(rows, [])]
            missing = [name for name in REQUIRED_COLUMNS if name not in header]
            if missing:
                raise DataError(
                    f"{path}, line 1: no column {' and '.join(missing)}; expected a header such as path,label,split"
                )
            for cells in filter(None, rows):
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}, line {rows.line_num}: {len(cells)} cells; expected {len(header)} as in the header, "
                        "and quotes around a cell that holds the delimiter"
                    )
                row = dict(zip(header, cells, strict=True))
                values = {name: row.get(name, "").strip() for name in ("label", *OPTIONAL_COLUMNS)}
                yield rows.line_num, {"path": row["path"]} | values
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV ({error})") from error


def resolve_image_path(name: str, folder: Path, *, where: str) -> Path:
    """The listed file; a table is not trusted, so that it must lie below the table's folder."""
    root = Path(os.path.normpath(folder.absolute()))
    # Only the words are looked at: what lies behind a link was put there by the user, not by the table.
    path = Path(os.path.normpath(root / name.replace("\\", "/")))
    if "\0" in name or not path.is_relative_to(root):
        raise DataError(f"{where}: {name!r} is not below {folder}, the folder of the CSV; move the CSV or the images")
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{where}: {name!r} has no image's extension; expected one of {' '.join(sorted(EXTENSIONS))}")
    return folder / path.relative_to(root)


def parse_split_cell(value: str, *, where: str) -> str | None:
    """train, val or test, whichever of its names is used; None if the cell is empty."""
    if value and parse_split_name(value) is None:
        raise DataError(f"{where}: split {value!r} is unknown; expected {', '.join(SPLIT_BY_FOLDER_NAME)}, or nothing")
    return parse_split_name(value)
