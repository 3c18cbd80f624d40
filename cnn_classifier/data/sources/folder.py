"""Find the images: walk a folder in one of the four layouts and name its classes."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from cnn_classifier.data.sources.class_names import check_same_classes, get_class_names
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.layout import (
    SPLIT_FOLDERS,
    check_dataset_folder,
    check_not_splits,
    find_split_folders,
    has_images,
    is_unlabeled,
    parse_split_name,
    skip_wrapper_dirs,
)
from cnn_classifier.data.sources.listing import (
    VisitedDirs,
    count_unlabeled,
    iter_image_files,
    list_subfolders,
    real_path,
)
from cnn_classifier.errors import DataError


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


def scan_archives(root: Path) -> DatasetIndex:
    """The images of `root/<archive>`: what the archives hold makes up one layout.

    An archive holds split folders, or class folders, or the images of one class, which is then called like the
    archive. Class folders in an archive that is called like a split are of that split.

    Raises:
        DataError: As for `scan_root`; or if two archives hold one class, or only some of them are of a split.
    """
    folders: dict[str | None, Path] = {}
    classes: defaultdict[str | None, list[Path]] = defaultdict(list)
    for archive in list_subfolders(root):
        content_root = skip_wrapper_dirs(archive)
        parts: list[tuple[str | None, Path]] = [*find_split_folders(content_root).items()] or [
            (parse_split_name(archive.name), content_root)
        ]
        for split, folder in parts:
            folders[split] = skip_wrapper_dirs(folder, split)
            children = list_subfolders(folders[split])
            classes[split] += [folders[split]] if len(children) < 2 and has_images(folders[split]) else children
    if None in classes and len(classes) > 1:
        raise DataError(f"{root}: some archives hold splits, others do not; call each train, val or test, or none")
    for class_folders in classes.values():
        class_folders.sort(key=lambda folder: folder.name)
        check_unique_class_folders(root, class_folders)
    return scan_layout(root, folders, {split: classes[split] for split in (None, *SPLIT_FOLDERS) if split in classes})


def check_unique_class_folders(root: Path, class_folders: list[Path]) -> None:
    folder_by_name: dict[str, Path] = {}
    for folder in class_folders:
        other = folder_by_name.setdefault(folder.name, folder)
        if other is not folder:
            archive_names = " and ".join(path.relative_to(root).parts[0] for path in (other, folder))
            raise DataError(
                f"{root}: the archives {archive_names} both hold {folder.name}; call them train and test if they are splits, "
                "or unpack them into one folder"
            )
