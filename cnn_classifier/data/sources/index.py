"""Find the images: walk a folder in one of the four layouts and name its classes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One image file.

    Args:
        path: The file.
        label: Index of its class in `class_names`.
        split: The split whose folder it was found in; None if it is ours to assign.
        group: What it must not be torn apart from, such as its patient; None if it stands alone.
    """

    path: Path
    label: int
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class DatasetIndex:
    """What a folder holds.

    Args:
        root: What the paths of a `split.csv` are relative to.
        samples: Every image, by split, class and path.
        class_names: The names of the classes, sorted; a label is an index into them.
        ignored: How many files were passed over, by extension.
    """

    root: Path
    samples: list[Sample]
    class_names: list[str]
    ignored: Counter[str]
