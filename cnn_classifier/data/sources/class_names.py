"""What class names must be: two at least, readable, told apart on every system, the same in every split."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import DataError

COLLISION = "differ only in case or in how accents are stored"


def get_class_names(class_folders: Sequence[Path], folder: Path) -> list[str]:
    """The names of at least two class folders, sorted.

    Args:
        classes: The class folders.
        folder: Where they were looked for.

    Raises:
        DataError: If there are fewer, or names that cannot be used.
    """
    names = sorted(class_folder.name for class_folder in class_folders)
    if not names:
        problem = "holds no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"{folder} {problem}; expected one folder of images a class, such as {folder.name}/cats")
    if len(names) == 1:
        raise DataError(f"{folder} has one class only ({names[0]}); expected at least two class folders")
    check_class_names(names, where=str(folder))
    return names


def check_class_names(names: Sequence[str], *, where: str) -> None:
    """Raise DataError if a name cannot be written down, or two would be one folder on Windows or macOS."""
    by_casefold: dict[str, str] = {}
    for name in names:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise DataError(f"{where} has a class {name!r}; expected a name in UTF-8 without line breaks: rename it")
        other = by_casefold.setdefault(casefold_path(name), name)
        if other != name:
            raise DataError(f"{where} has classes {other!r} and {name!r}, which {COLLISION}; make them one")


def check_same_classes(expected: list[str], actual: list[str], *, expected_in: Path, actual_in: Path) -> None:
    """Raise DataError unless two splits have the same classes."""
    missing = sorted(set(expected) - set(actual))
    extra = sorted(set(actual) - set(expected))
    if missing or extra:
        differences = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(extra)}"] * bool(extra)
        hint = "" if set(map(casefold_path, missing)).isdisjoint(map(casefold_path, extra)) else f" (some {COLLISION})"
        raise DataError(
            f"{actual_in} {' and '.join(differences)}{hint}; expected the same class folders as in {expected_in}"
        )


def rename_classes(scan: DatasetIndex, class_names: Mapping[str | int, str | int] | None) -> DatasetIndex:
    """The same images under other class names, sorted anew; classes that are given one name become one.

    Args:
        scan: What was found.
        class_names: New names by old; classes that it does not name keep theirs.

    Raises:
        DataError: If two of the names differ only in case.
    """
    if not class_names:
        return scan
    new_names = {str(old): str(new) for old, new in class_names.items()}  # YAML reads 0 as a number
    renamed_classes = [new_names.get(name, name) for name in scan.class_names]
    names = sorted(set(renamed_classes))
    check_class_names(names, where="dataset.class_names")
    labels = {name: label for label, name in enumerate(names)}
    samples = [replace(sample, label=labels[renamed_classes[sample.label]]) for sample in scan.samples]
    return replace(scan, samples=samples, class_names=names)


def casefold_path(name: str) -> str:
    """Equal for names that some file system takes for one: Unicode's canonical caseless matching (3.13, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
