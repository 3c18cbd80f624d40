"""What class names must be: two at least, readable, told apart on every system, the same in every split."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

from cnn_classifier.data.unpacking import caseless
from cnn_classifier.errors import DataError

SAME_NAME = "differ only in case or in how accents are stored"


def require_classes(classes: Sequence[Path], folder: Path) -> list[str]:
    """The names of at least two class folders, sorted.

    Args:
        classes: The class folders.
        folder: Where they were looked for.

    Raises:
        DataError: If there are fewer, or names that cannot be used.
    """
    names = sorted(found.name for found in classes)
    if not names:
        what = "holds no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"{folder} {what}; expected one folder of images a class, such as {folder.name}/cats")
    if len(names) == 1:
        raise DataError(f"{folder} has one class only ({names[0]}); expected at least two class folders")
    require_usable(names, where=str(folder))
    return names


def require_usable(names: Sequence[str], *, where: str) -> None:
    """Raise DataError if a name cannot be written down, or two would be one folder on Windows or macOS."""
    by_caseless: dict[str, str] = {}
    for name in names:
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
            raise DataError(f"{where} has a class {name!r}; expected a name in UTF-8 without line breaks: rename it")
        other = by_caseless.setdefault(caseless(name), name)
        if other != name:
            raise DataError(f"{where} has classes {other!r} and {name!r}, which {SAME_NAME}; make them one")


def require_same_classes(expected: list[str], found: list[str], *, expected_in: Path, found_in: Path) -> None:
    """Raise DataError unless two splits have the same classes."""
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(extra)}"] * bool(extra)
        hint = "" if set(map(caseless, missing)).isdisjoint(map(caseless, extra)) else f" (some {SAME_NAME})"
        raise DataError(f"{found_in} {' and '.join(told)}{hint}; expected the same class folders as in {expected_in}")
