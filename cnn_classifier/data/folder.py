"""Find the images: walk a folder in one of the four layouts and name its classes."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.data.digits import write_digits
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.preprocess import EXTENSIONS
from cnn_classifier.errors import ConfigError, DataError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SOURCES = {"digits": write_digits}


@dataclass(frozen=True)
class Sample:
    """One image file.

    Args:
        path: The file.
        label: Index of its class in `class_names`.
        split: The split whose folder it was found in; None if it is ours to assign.
    """

    path: Path
    label: int
    split: str | None = None


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Args:
        root: What the paths of a `split.csv` are relative to.
        samples: Every image, sorted by path.
        class_names: The names of the class folders, sorted; a label is an index into them.
        ignored: How many files were passed over, by extension.
    """

    root: Path
    samples: list[Sample]
    class_names: list[str]
    ignored: Counter[str]


def scan_source(options: DatasetOptions) -> Scan:
    """Find every image and its class; nothing is decoded.

    Raises:
        ConfigError: If the options do not say where the images are.
        DataError: If there is no such folder, no class or no image in it, or its splits have other classes.
    """
    if options.named_folders:
        if "train" not in options.named_folders:
            raise ConfigError("dataset.train_dir is not set; give it beside dataset.val_dir and dataset.test_dir")
        return scan_splits(options.named_folders, root=Path(options.root).expanduser() if options.root else None)
    if options.root:
        return scan_root(Path(options.root).expanduser())
    if options.source in SOURCES:
        return scan_root(SOURCES[options.source]())
    if options.source:
        raise ConfigError(f"dataset.source={options.source} is unknown; expected one of: {', '.join(SOURCES)}")
    raise ConfigError(f"dataset.root is not set; say where the images of {options.name!r} are: dataset.root=PATH")


def scan_root(root: Path) -> Scan:
    """Scan `root/class`, `root/{train,test}/class` or `root/{train,val,test}/class`."""
    require_folder(root, "dataset.root")
    here = {folder.name.lower(): folder for folder in subfolders(root)}
    by_split = {split: here[name] for split, names in SPLIT_FOLDERS.items() for name in names if name in here}
    if "train" in by_split and subfolders(by_split["train"]):  # otherwise it is a class of that name
        return scan_splits(by_split, root)
    class_names = require_classes(root)
    ignored: Counter[str] = Counter()
    return Scan(root, scan_classes(root, class_names, None, ignored), class_names, ignored)


def scan_labelled(root: Path) -> Scan:
    """Scan `root/test/class` where that is there, else `root/class`; a single class will do."""
    require_folder(root, "FOLDER")
    tests = [
        folder for folder in subfolders(root) if folder.name.lower() in SPLIT_FOLDERS["test"] and subfolders(folder)
    ]
    root = tests[0] if tests else root
    class_names = [found.name for found in subfolders(root)] or require_classes(root)
    ignored: Counter[str] = Counter()
    return Scan(root, scan_classes(root, class_names, None, ignored), class_names, ignored)


def scan_splits(folders: dict[str, Path], root: Path | None) -> Scan:
    """Scan one folder a split; each must have the same classes."""
    for split, folder in folders.items():
        require_folder(folder, f"dataset.{split}_dir")
    class_names = require_classes(folders["train"])
    for folder in folders.values():
        require_same_classes(class_names, [found.name for found in subfolders(folder)], folders["train"], folder)
    ignored: Counter[str] = Counter()
    samples = [
        sample for split, folder in folders.items() for sample in scan_classes(folder, class_names, split, ignored)
    ]
    return Scan(root or common_root(folders.values()), samples, class_names, ignored)


def scan_classes(folder: Path, class_names: list[str], split: str | None, ignored: Counter[str]) -> list[Sample]:
    """Every image below `folder/class`, for every class."""
    samples: list[Sample] = []
    for label, name in enumerate(class_names):
        found = sorted(image_files(folder / name, ignored))
        if not found:
            raise DataError(f"{folder / name} holds no images; fill this class folder or remove it")
        samples += [Sample(path, label, split) for path in found]
    return samples


def image_files(folder: Path, ignored: Counter[str] | None = None) -> Iterator[Path]:
    """Every file with an image's extension below a folder; hidden ones and links upwards are passed over."""
    top = os.path.realpath(folder)
    seen = set()
    for parent, folder_names, file_names in os.walk(folder, followlinks=True):
        here = os.path.realpath(parent)
        # A link to where we have been would never end, one to above would make other classes' images ours.
        if here in seen or Path(here) in Path(top).parents:
            folder_names.clear()
            continue
        seen.add(here)
        folder_names[:] = sorted(name for name in folder_names if not is_hidden(name))
        for name in file_names:
            if is_hidden(name):
                continue
            extension = Path(name).suffix.lower()
            if extension in EXTENSIONS:
                yield Path(parent, name)
            elif ignored is not None:
                ignored[extension or name] += 1


def subfolders(folder: Path) -> list[Path]:
    """The folders directly inside, sorted by name, without hidden ones."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not is_hidden(entry.name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: `.cache`, `.DS_Store`, macOS's `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"


def require_folder(folder: Path, key: str) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{key}: {folder} {what}; expected a folder with one folder of images a class")


def require_classes(folder: Path) -> list[str]:
    names = [found.name for found in subfolders(folder)]
    if not names:
        what = "holds no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"{folder} {what}; expected one folder of images a class, such as {folder.name}/cats")
    if len(names) == 1:
        raise DataError(f"{folder} has one class only ({names[0]}); expected at least two class folders")
    return names


def require_same_classes(expected: list[str], found: list[str], expected_in: Path, found_in: Path) -> None:
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        told = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"also has {', '.join(extra)}"] * bool(extra)
        raise DataError(f"{found_in} {' and '.join(told)}; expected the same class folders as in {expected_in}")


def common_root(folders: Iterable[Path]) -> Path:
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))
