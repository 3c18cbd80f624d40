"""Find the images: walk a folder in one of the four layouts and name its classes."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cnn_classifier.data.classes import require_classes, require_same_classes
from cnn_classifier.data.layout import is_unlabelled, refuse_splits, require_folder, split_folders, split_of, unwrapped
from cnn_classifier.data.walk import Claims, count_loose, image_files, real_path, subfolders
from cnn_classifier.errors import DataError


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
    if by_split:
        unlabelled = [folder for split, folder in by_split.items() if is_unlabelled(folder, split)]
        scan = scan_splits({split: folder for split, folder in by_split.items() if folder not in unlabelled}, root)
        for folder in unlabelled:
            scan.ignored[f"in {folder.name}, which has no class folders"] = sum(1 for _ in image_files(folder))
        return scan
    return scan_layout(root, {None: root}, {None: subfolders(root)}, loose_in=[root])


def scan_labelled(root: Path) -> Scan:
    """Scan `root/test/class` where that is there, else `root/class`; a single class will do."""
    require_folder(root, "FOLDER")
    root = unwrapped(root)
    tests = [folder for folder in subfolders(root) if split_of(folder.name) == "test"]
    root = next((unwrapped(folder, "test") for folder in tests if subfolders(folder)), root)
    classes = subfolders(root)
    names = [folder.name for folder in classes] or require_classes(classes, root)
    return scan_classes(root, {None: classes}, names, loose_in=[root])


def scan_splits(folders: Mapping[str, Path], root: Path | None) -> Scan:
    """Scan one folder a split; each must have the same classes."""
    for split, folder in folders.items():
        require_folder(folder, f"dataset.{split}_dir")
    root = root or common_root(folders.values())
    inner: dict[str | None, Path] = {split: unwrapped(folder, split) for split, folder in folders.items()}
    classes = {split: subfolders(folder) for split, folder in inner.items()}
    return scan_layout(root, inner, classes, loose_in={root, *inner.values()})


def scan_layout(
    root: Path,
    folders: Mapping[str | None, Path],
    classes: Mapping[str | None, list[Path]],
    *,
    loose_in: Iterable[Path] = (),
) -> Scan:
    """Scan the class folders of every split.

    Args:
        root: What everything is in.
        folders: What an error calls each split, or what is not split; by split.
        classes: The class folders, by split.
        loose_in: Where files that are of no class are counted.

    Raises:
        DataError: If there is nothing to train on, splits look like classes, or have other classes.
    """
    first = None if None in classes else "train"
    if first not in classes:
        raise DataError(f"{root} has {', '.join(map(str, classes))} but no train; add it or give dataset.train_dir")
    class_names = require_classes(classes[first], folders[first])
    if first is None:
        refuse_splits(root, classes[first])
    for split, found in classes.items():
        names = [folder.name for folder in found]
        require_same_classes(class_names, names, expected_in=folders[first], found_in=folders[split])
    return scan_classes(root, classes, class_names, loose_in=loose_in)


def scan_classes(
    root: Path, classes: Mapping[str | None, list[Path]], class_names: list[str], *, loose_in: Iterable[Path]
) -> Scan:
    """Every image below every class folder."""
    places: dict[Path, Path] = {}
    for place in chain.from_iterable(classes.values()):
        other = places.setdefault(real_path(place), place)
        if other is not place:  # by a link, or by options
            raise DataError(f"{place} and {other} are one folder; give each split images of its own")
    samples: list[Sample] = []
    ignored: Counter[str] = Counter()
    for folder in loose_in:
        count_loose(folder, ignored)
    claims = Claims(places)
    labels = {name: label for label, name in enumerate(class_names)}
    for split, folders in classes.items():
        for place in folders:
            found = sorted(image_files(place, ignored, claims), key=str)
            if not found:
                raise DataError(f"{place} holds no images; fill this class folder or remove it")
            samples += [Sample(path, labels[place.name], split) for path in found]
    return Scan(root, samples, class_names, ignored)


def common_root(folders: Iterable[Path]) -> Path:
    """The folder that all are in; the first of them where they lie on several drives of Windows."""
    absolute = [folder.absolute() for folder in folders]
    try:
        return Path(os.path.commonpath(absolute))
    except ValueError:
        return absolute[0]
