"""Validation and renaming of class names, which must be valid on every file system and equal in all splits."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import DataError

COLLISION = "differ only in case or in the encoding of accents"
MAX_NAMES = 10  # in a message


def check_class_folders(class_folders: Sequence[Path], folder: Path, *, min_classes: int = 2) -> None:
    """Raise `DataError` if there are fewer class folders than `min_classes`.

    Args:
        class_folders: The class folders.
        folder: The folder that contains them, for error messages.
        min_classes: The minimum number of class folders, 1 or 2.
    """
    if not class_folders:
        problem = "contains no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"{folder} {problem}. Expected one folder of images per class, such as {folder.name}/cats.")
    if len(class_folders) < min_classes:
        raise DataError(f"{folder} has only one class ({class_folders[0].name}). Expected at least two class folders.")


def merge_class_names(class_folders: Iterable[Sequence[Path]], *, where: str) -> list[str]:
    """Return the sorted class names of all splits, with composed accents.

    Args:
        class_folders: The class folders of each split.
        where: The source of the names, for error messages.

    Raises:
        DataError: If a name is invalid, see `check_class_names`.
    """
    names: set[str] = set()
    for folders in class_folders:
        check_class_names([folder.name for folder in folders], where=where)
        names |= {compose_accents(folder.name) for folder in folders}
    check_class_names(sorted(names), where=where)
    return sorted(names)


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


def keep_trained_classes(index: DatasetIndex) -> DatasetIndex:
    """Return an index without the classes that have no training images, and a note that names them.

    Raises:
        DataError: If fewer than two classes have training images, or a validation or test split lacks a class and has
            one with a similar name, which is probably misspelled.
    """
    labels: defaultdict[str, set[int]] = defaultdict(set)
    for sample in index.samples:
        labels[sample.split or "train"].add(sample.label)
    for split in labels.keys() - {"train"}:
        for label in sorted(labels[split] - labels["train"]):
            name = index.class_names[label]
            lacking = [index.class_names[trained] for trained in sorted(labels["train"] - labels[split])]
            if similar := find_similar(name, lacking):
                raise DataError(
                    f"{index.root}: {split} has a class {name!r} that train lacks, and lacks {similar!r}. Expected the "
                    f"same names in all splits. Rename one of the folders, or remove {name!r} if it is another class."
                )
    if len(labels["train"]) < 2:
        raise DataError(f"{index.root}: fewer than two classes have training images. Expected at least two.")
    note = "Classes without training images: {names}. They are left out, with {images} in other splits."
    return keep_classes(index, labels["train"], note)


def find_similar(name: str, candidates: Sequence[str]) -> str | None:
    """Return the most similar name if it is a likely misspelling; names that differ in a number are different."""
    letters = re.sub(r"\d", "", name)
    candidates = [candidate for candidate in candidates if re.sub(r"\d", "", candidate) != letters]
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=0.8)), None)


def keep_classes(index: DatasetIndex, kept: Collection[int], note: str) -> DatasetIndex:
    """Return an index without the other classes and their samples.

    Args:
        index: The index.
        kept: The labels of the classes to keep.
        note: The note about the other classes, with `{names}` for their names and `{images}` for their images.
    """
    names = [name for label, name in enumerate(index.class_names) if label not in kept]
    if not names:
        return index
    new_labels = {label: new_label for new_label, label in enumerate(sorted(kept))}
    samples = [
        replace(sample, label=new_labels[sample.label]) for sample in index.samples if sample.label in new_labels
    ]
    text = note.format(names=abbreviate(names), images=pluralize(len(index.samples) - len(samples), "image"))
    class_names = [index.class_names[label] for label in sorted(kept)]
    return replace(index, samples=samples, class_names=class_names, notes=[*index.notes, text])


def abbreviate(names: Sequence[str]) -> str:
    """Return the names as a list in a sentence, at most `MAX_NAMES` of them, with the number of the others."""
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES:,} more"


def pluralize(count: int, noun: str) -> str:
    """Return a count with its noun: `1 class`, `1,200 classes`."""
    suffix = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{suffix}"


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
    # YAML reads 0 as a number.
    new_names = {compose_accents(str(old)): compose_accents(str(new)) for old, new in class_names.items()}
    renamed_classes = [new_names.get(name, name) for name in index.class_names]
    names = sorted(set(renamed_classes))
    check_class_names(names, where="dataset.rename_classes")
    labels = {name: label for label, name in enumerate(names)}
    samples = [replace(sample, label=labels[renamed_classes[sample.label]]) for sample in index.samples]
    return replace(index, samples=samples, class_names=names)


def compose_accents(name: str) -> str:
    """Return a name with composed accents (NFC), as all systems but macOS write it."""
    return unicodedata.normalize("NFC", name)


def note_unmatched_names(index: DatasetIndex, class_names: Mapping[str | int, str | int] | None) -> list[str]:
    """Return a note about the old names in `dataset.rename_classes` whose class does not exist under either name."""
    new_names = {str(old): str(new) for old, new in (class_names or {}).items()}
    unmatched = [old for old, new in new_names.items() if {old, new}.isdisjoint(index.class_names)]
    return [f"dataset.rename_classes: there is no class {abbreviate(unmatched)}."] if unmatched else []


def casefold_path(name: str) -> str:
    """Return a key that is equal for names that some file system treats as the same (Unicode caseless match, D145)."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
