"""The result of scanning a data source: a `DatasetIndex` of `Sample`s."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_classifier.data.config import TABLE_SUFFIXES, as_list


@dataclass(frozen=True)
class Sample:
    """One image file and its label.

    Args:
        path: The path of the image file.
        label: The index of its class in `DatasetIndex.class_names`.
        split: The split of the folder or CSV row that the image comes from: `train`, `val` or `test`. None if the
            image is to be assigned to a split.
        group: The name of a group, such as a patient, whose images must stay in the same split. None if the image can
            be assigned alone.
    """

    path: Path
    label: int
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class DatasetIndex:
    """All images of a dataset, found without decoding any of them.

    Args:
        root: The folder that the paths in a `split.csv` are relative to.
        samples: The images, sorted by split, class and path.
        class_names: The sorted class names; `Sample.label` is an index into this list.
        ignored: The number of ignored files, by extension or reason.
        notes: Messages for the user about the reading of the source, each a sentence or two.
    """

    root: Path
    samples: list[Sample]
    class_names: list[str]
    ignored: Counter[str]
    notes: Sequence[str] = ()


def is_table(dataset: Mapping[str, Any]) -> bool:
    """Return whether a CSV file lists the images of a dataset, so that other images beside them do not matter."""
    paths = [dataset.get("root"), *as_list(dataset.get("source"))]
    return any(str(path).lower().endswith(TABLE_SUFFIXES) for path in paths)
