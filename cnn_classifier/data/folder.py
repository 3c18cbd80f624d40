"""Find the images: walk a folder in one of the four layouts and name its classes."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cnn_classifier.data.classes import require_classes, require_same_classes, require_usable
from cnn_classifier.data.walk import count_loose, image_files, is_image, real_path, subfolders
from cnn_classifier.errors import ConfigError, DataError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}


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
class Scan:
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


def scan_root(root: Path, key: str = "dataset.root") -> Scan:
    """Scan `root/class`, `root/{train,test}/class` or `root/{train,val,test}/class`, also below an archive's wrapper.

    Args:
        root: The folder.
        key: What an error calls it.

    Raises:
        DataError: If there is no such folder, no class or no image in it, or its splits have other classes.
    """
    require_folder(root, key)
    root = unwrapped(root)
    by_split = split_folders(root)
    return scan_splits(by_split, root) if by_split else scan_classes(root, {None: root}, require_classes(root))


def scan_labelled(root: Path) -> Scan:
    """Scan `root/test/class` where that is there, else `root/class`; a single class will do."""
    require_folder(root, "FOLDER")
    root = unwrapped(root)
    tests = [folder for folder in subfolders(root) if SPLIT_OF.get(folder.name.lower()) == "test"]
    root = next((folder for folder in tests if subfolders(folder)), root)
    return scan_classes(root, {None: root}, [found.name for found in subfolders(root)] or require_classes(root))


def scan_splits(folders: Mapping[str, Path], root: Path | None) -> Scan:
    """Scan one folder a split; each must have the same classes."""
    for split, folder in folders.items():
        require_folder(folder, f"dataset.{split}_dir")
    train, class_names = folders["train"], require_classes(folders["train"])
    for folder in folders.values():
        found = [class_folder.name for class_folder in subfolders(folder)]
        require_same_classes(class_names, found, expected_in=train, found_in=folder)
    return scan_classes(root or common_root(folders.values()), folders, class_names)


def scan_classes(root: Path, folders: Mapping[str, Path] | Mapping[None, Path], class_names: list[str]) -> Scan:
    """Every image below `folder/class`, for the folder of every split and every class."""
    places: dict[Path, Path] = {}
    for place in [folder / name for folder in folders.values() for name in class_names]:
        other = places.setdefault(real_path(place), place)
        if other is not place:  # by a link, or by options
            raise DataError(f"{place} and {other} are one folder; give each split images of its own")
    samples: list[Sample] = []
    ignored: Counter[str] = Counter()
    for folder in {root, *folders.values()}:
        count_loose(folder, ignored)
    claimed = list(places)
    for split, folder in folders.items():
        for label, name in enumerate(class_names):
            found = sorted(image_files(folder / name, ignored, claimed))
            if not found:
                raise DataError(f"{folder / name} holds no images; fill this class folder or remove it")
            samples += [Sample(path, label, split) for path in found]
    return Scan(root, samples, class_names, ignored)


def unwrapped(root: Path) -> Path:
    """The folder that an archive's wrappers (`PetImages/`) hold; `root` itself where a single class is all there is."""
    here, inside = root, subfolders(root)
    while len(inside) == 1 and inside[0].name.lower() not in SPLIT_OF and not holds_images(here):
        here = inside[0]
        inside = subfolders(here)
    return here if not holds_images(here) and (len(inside) > 1 or split_folders(here)) else root


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits, none if there are no class folders in `train`: then it is a class of that name."""
    found = [folder for folder in subfolders(root) if folder.name.lower() in SPLIT_OF]
    by_split = {SPLIT_OF[folder.name.lower()]: folder for folder in found}
    if "train" not in by_split or not subfolders(by_split["train"]):
        return {}
    if len(by_split) < len(found):
        raise DataError(f"{root} has {', '.join(folder.name for folder in found)}; expected one folder a split")
    return {split: by_split[split] for split in SPLIT_FOLDERS if split in by_split}


def renamed(scan: Scan, class_names: Mapping[str | int, str | int] | None) -> Scan:
    """The same images under other class names, sorted anew; classes that are given one name become one.

    Args:
        scan: What was found.
        class_names: New names by old; classes that it does not name keep theirs.

    Raises:
        ConfigError: If all classes become one.
        DataError: If two of the names differ only in case.
    """
    if not class_names:
        return scan
    new_names = {str(old): str(new) for old, new in class_names.items()}  # YAML reads 0 as a number
    told = [new_names.get(name, name) for name in scan.class_names]
    names = sorted(set(told))
    if len(names) == 1 < len(told):
        raise ConfigError(f"dataset.class_names calls every class {names[0]!r}; expected at least two names")
    require_usable(names, where="dataset.class_names")
    label_of = [names.index(name) for name in told]
    samples = [replace(sample, label=label_of[sample.label]) for sample in scan.samples]
    return replace(scan, samples=samples, class_names=names)


def grouped(scan: Scan, pattern: str | None) -> Scan:
    """The same images, each in the group that its path names.

    Args:
        scan: What was found.
        pattern: A regular expression, searched for in the path below `scan.root` with forward slashes. Its first
            group, or all that it matches if it has none, names the image's group; without a match there is none.

    Raises:
        ConfigError: If it is no regular expression.
    """
    if pattern is None:
        return scan
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"dataset.group_pattern={pattern} is no regular expression: {error}") from error
    top = f"{scan.root.absolute().as_posix()}/"

    def group_of(path: Path) -> str | None:
        match = expression.search(path.absolute().as_posix().removeprefix(top))
        return match[min(1, expression.groups)] if match else None

    return replace(scan, samples=[replace(sample, group=group_of(sample.path)) for sample in scan.samples])


def holds_images(folder: Path) -> bool:
    return any(is_image(entry.name) and entry.is_file() for entry in folder.iterdir())


def require_folder(folder: Path, key: str) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{key}: {folder} {what}; expected a folder with one folder of images a class")


def common_root(folders: Iterable[Path]) -> Path:
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
