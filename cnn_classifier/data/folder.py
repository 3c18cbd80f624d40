"""Find the images: walk a folder in one of the four layouts and name its classes."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cnn_classifier.data.classes import check_same_classes, get_class_names
from cnn_classifier.data.layout import (
    check_dataset_folder,
    check_not_splits,
    find_split_folders,
    is_unlabeled,
    parse_split_name,
    skip_wrapper_dirs,
)
from cnn_classifier.data.walk import VisitedDirs, count_unlabeled, iter_image_files, list_subfolders, real_path
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


def scan_root(root: Path, key: str = "dataset.root") -> DatasetIndex:
    """Scan `root/class`, `root/{train,test}/class` or `root/{train,val,test}/class`, also below an archive's wrapper.

    Args:
        root: The folder.
        key: What an error calls it.

    Raises:
        DataError: If there is no such folder, no class or no image in it, or its splits have other classes.
    """
    check_dataset_folder(root, key)
    root = skip_wrapper_dirs(root)
    by_split = find_split_folders(root)
    if by_split:
        unlabeled = [folder for split, folder in by_split.items() if is_unlabeled(folder, split)]
        scan = scan_splits({split: folder for split, folder in by_split.items() if folder not in unlabeled}, root)
        for folder in unlabeled:
            scan.ignored[f"in {folder.name}, which has no class folders"] = sum(1 for _ in iter_image_files(folder))
        return scan
    return scan_layout(root, {None: root}, {None: list_subfolders(root)}, count_unlabeled_in=[root])


def scan_eval_folder(root: Path) -> DatasetIndex:
    """Scan `root/test/class` where that is there, else `root/class`; a single class will do."""
    check_dataset_folder(root, "FOLDER")
    root = skip_wrapper_dirs(root)
    test_folders = [folder for folder in list_subfolders(root) if parse_split_name(folder.name) == "test"]
    root = next((skip_wrapper_dirs(folder, "test") for folder in test_folders if list_subfolders(folder)), root)
    classes = list_subfolders(root)
    class_names = [folder.name for folder in classes] or get_class_names(classes, root)
    return scan_classes(root, {None: classes}, class_names, count_unlabeled_in=[root])


def scan_splits(folders: Mapping[str, Path], root: Path | None) -> DatasetIndex:
    """Scan one folder a split; each must have the same classes."""
    for split, folder in folders.items():
        check_dataset_folder(folder, f"dataset.{split}_dir")
    root = root or common_root(folders.values())
    split_roots: dict[str | None, Path] = {split: skip_wrapper_dirs(folder, split) for split, folder in folders.items()}
    classes = {split: list_subfolders(folder) for split, folder in split_roots.items()}
    return scan_layout(root, split_roots, classes, count_unlabeled_in={root, *split_roots.values()})


def scan_layout(
    root: Path,
    folders: Mapping[str | None, Path],
    classes: Mapping[str | None, list[Path]],
    *,
    count_unlabeled_in: Iterable[Path] = (),
) -> DatasetIndex:
    """Scan the class folders of every split.

    Args:
        root: What everything is in.
        folders: What an error calls each split, or what is not split; by split.
        classes: The class folders, by split.
        loose_in: Where files that are of no class are counted.

    Raises:
        DataError: If there is nothing to train on, splits look like classes, or have other classes.
    """
    first_split = None if None in classes else "train"
    if first_split not in classes:
        raise DataError(f"{root} has {', '.join(map(str, classes))} but no train; add it or give dataset.train_dir")
    class_names = get_class_names(classes[first_split], folders[first_split])
    if first_split is None:
        check_not_splits(root, classes[first_split])
    for split, class_folders in classes.items():
        names = [folder.name for folder in class_folders]
        check_same_classes(class_names, names, expected_in=folders[first_split], actual_in=folders[split])
    return scan_classes(root, classes, class_names, count_unlabeled_in=count_unlabeled_in)


def scan_classes(
    root: Path, classes: Mapping[str | None, list[Path]], class_names: list[str], *, count_unlabeled_in: Iterable[Path]
) -> DatasetIndex:
    """Every image below every class folder."""
    folder_by_real_path: dict[Path, Path] = {}
    for class_folder in chain.from_iterable(classes.values()):
        other = folder_by_real_path.setdefault(real_path(class_folder), class_folder)
        if other is not class_folder:  # by a link, or by options
            raise DataError(f"{class_folder} and {other} are one folder; give each split images of its own")
    samples: list[Sample] = []
    ignored: Counter[str] = Counter()
    for folder in count_unlabeled_in:
        count_unlabeled(folder, ignored)
    visited = VisitedDirs(folder_by_real_path)
    labels = {name: label for label, name in enumerate(class_names)}
    for split, folders in classes.items():
        for class_folder in folders:
            paths = sorted(iter_image_files(class_folder, ignored, visited), key=str)
            if not paths:
                raise DataError(f"{class_folder} holds no images; fill this class folder or remove it")
            samples += [Sample(path, labels[class_folder.name], split) for path in paths]
    return DatasetIndex(root, samples, class_names, ignored)


def common_root(folders: Iterable[Path]) -> Path:
    """The folder that all are in; the first of them where they lie on several drives of Windows."""
    absolute = [folder.absolute() for folder in folders]
    try:
        return Path(os.path.commonpath(absolute))
    except ValueError:
        return absolute[0]
