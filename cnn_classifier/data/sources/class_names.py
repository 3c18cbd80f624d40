"""Validation and renaming of class names, which must be valid on every file system and equal in all splits."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import DataError

COLLISION = "differ only in case or in the encoding of accents"


def get_class_names(class_folders: Sequence[Path], folder: Path) -> list[str]:
    """Return the sorted names of at least two class folders.

    Args:
        class_folders: The class folders.
        folder: The folder that contains them, for error messages.

    Raises:
        DataError: If there are fewer than two class folders, or a name is invalid.
    """
    names = sorted(class_folder.name for class_folder in class_folders)
    if not names:
        problem = "contains no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"{folder} {problem}. Expected one folder of images per class, such as {folder.name}/cats.")
    if len(names) == 1:
        raise DataError(f"{folder} has only one class ({names[0]}). Expected at least two class folders.")
    check_class_names(names, where=str(folder))
    return names


def check_class_names(names: Sequence[str], *, where: str) -> None:
    """Raise `DataError` if a name is not valid text, or two names would be the same folder on Windows or macOS.

    Args:
        names: The class names.
        where: The source of the names, for error messages.
    """
    by_casefold: dict[str, str] = {}
    for name in names:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise DataError(
                f"{where} has a class {name!r}. Expected a UTF-8 name without line breaks. Rename the class."
            )
        other = by_casefold.setdefault(casefold_path(name), name)
        if other != name:
            raise DataError(f"{where} has classes {other!r} and {name!r}, which {COLLISION}. Merge or rename them.")


def check_same_classes(expected: list[str], actual: list[str], *, expected_in: Path, actual_in: Path) -> None:
    """Raise `DataError` unless two splits have the same classes.

    Args:
        expected: The class names of the reference split.
        actual: The class names of the other split.
        expected_in: The folder of the reference split.
        actual_in: The folder of the other split.
    """
    missing = sorted(set(expected) - set(actual))
    extra = sorted(set(actual) - set(expected))
    if missing or extra:
        differences = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(extra)}"] * bool(extra)
        hint = "" if set(map(casefold_path, missing)).isdisjoint(map(casefold_path, extra)) else f" (some {COLLISION})"
        raise DataError(
            f"{actual_in} {' and '.join(differences)}{hint}. Expected the same class folders as in {expected_in}."
        )


def rename_classes(index: DatasetIndex, class_names: Mapping[str | int, str | int] | None) -> DatasetIndex:
    """Return an index with renamed classes, sorted again; classes with the same new name are merged.

    Args:
        index: The index to rename the classes of.
        class_names: A mapping from old to new names; other classes keep their names.

    Raises:
        DataError: If two of the resulting names differ only in case or in the encoding of accents.
    """
    if not class_names:
        return index
    new_names = {str(old): str(new) for old, new in class_names.items()}  # YAML reads 0 as a number
    renamed_classes = [new_names.get(name, name) for name in index.class_names]
    names = sorted(set(renamed_classes))
    check_class_names(names, where="dataset.rename_classes")
    labels = {name: label for label, name in enumerate(names)}
    samples = [replace(sample, label=labels[renamed_classes[sample.label]]) for sample in index.samples]
    return replace(index, samples=samples, class_names=names)


def casefold_path(name: str) -> str:
    """Return a key that is equal for names that some file system treats as the same (Unicode caseless match, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
