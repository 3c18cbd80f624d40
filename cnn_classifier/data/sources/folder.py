"""Scanning of dataset folders: class folders, split folders and extracted archives."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from cnn_classifier.data.sources.class_names import (
    check_class_folders,
    compose_accents,
    keep_classes,
    merge_class_names,
)
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.layout import (
    SPLIT_FOLDERS,
    check_dataset_folder,
    check_not_splits,
    common_root,
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
    """Index a folder with class folders, or with split folders that contain class folders.

    The layouts are `root/class`, `root/{train,test}/class`, `root/{train,val}/class` and `root/{train,val,test}/class`,
    each also below the wrapper folders of an archive.

    Args:
        root: The folder.
        key: The name of the folder in error messages.

    Raises:
        DataError: If the folder does not exist, has no classes or no images.
    """
    check_dataset_folder(root, key)
    root = skip_wrapper_dirs(root)
    by_split = find_split_folders(root)
    if by_split:
        unlabeled = [folder for split, folder in by_split.items() if is_unlabeled(folder, split)]
        index = scan_splits({split: folder for split, folder in by_split.items() if folder not in unlabeled}, root)
        for folder in unlabeled:
            index.ignored[f"in {folder.name}, which has no class folders"] = sum(1 for _ in iter_image_files(folder))
        return index
    return scan_layout(root, {None: root}, {None: list_subfolders(root)}, count_unlabeled_in=[root])


def scan_eval_folder(root: Path) -> DatasetIndex:
    """Index `root/test/class` if it exists, otherwise `root/class`; a single class is sufficient."""
    check_dataset_folder(root, "FOLDER")
    root = skip_wrapper_dirs(root)
    test_folders = [folder for folder in list_subfolders(root) if parse_split_name(folder.name) == "test"]
    root = next((skip_wrapper_dirs(folder, "test") for folder in test_folders if list_subfolders(folder)), root)
    classes = list_subfolders(root)
    check_class_folders(classes, root, min_classes=1)
    return scan_classes(root, {None: classes}, count_unlabeled_in=[root])


def scan_splits(folders: Mapping[str, Path], root: Path | None) -> DatasetIndex:
    """Index one folder per split; classes with the same name are the same class.

    Args:
        folders: The folder of each split.
        root: The root of the index. Defaults to the common parent of the folders.

    Raises:
        DataError: If a folder does not exist, or as for `scan_layout`.
    """
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
    """Index the class folders of every split, after checking them.

    Args:
        root: The root of the index.
        folders: The folder of each split, for error messages; the key is None if there are no splits.
        classes: The class folders of each split.
        count_unlabeled_in: Folders in which to count the files that belong to no class.

    Raises:
        DataError: If there is no training split, or as for `check_not_splits` and `scan_classes`.
    """
    split = None if None in classes else "train"
    if split not in classes:
        raise DataError(f"{root} has {', '.join(map(str, classes))} but no train. Add it or set dataset.train_dir.")
    check_class_folders(classes[split], folders[split])
    if split is None:
        check_not_splits(root, classes[split])
    return scan_classes(root, classes, count_unlabeled_in=count_unlabeled_in, min_classes=2)


def scan_classes(
    root: Path, classes: Mapping[str | None, list[Path]], *, count_unlabeled_in: Iterable[Path], min_classes: int = 1
) -> DatasetIndex:
    """Index every image in the class folders; classes without images are left out.

    Args:
        root: The root of the index.
        classes: The class folders of each split; folders of the same name are the same class.
        count_unlabeled_in: Folders in which to count the files that belong to no class.
        min_classes: The minimum number of classes with training images.

    Raises:
        DataError: If class folders are the same folder or have invalid names, or too few contain images.
    """
    folder_by_real_path: dict[Path, Path] = {}
    for class_folder in chain.from_iterable(classes.values()):
        other = folder_by_real_path.setdefault(real_path(class_folder), class_folder)
        if other is not class_folder:  # through a link, or through dataset.*_dir
            raise DataError(f"{class_folder} and {other} are the same folder. Each split needs its own images.")
    class_names = merge_class_names(classes.values(), where=str(root))
    samples: list[Sample] = []
    ignored: Counter[str] = Counter()
    for folder in count_unlabeled_in:
        count_unlabeled(folder, ignored)
    visited = VisitedDirs(folder_by_real_path)
    labels = {name: label for label, name in enumerate(class_names)}
    empty_folders: list[Path] = []
    for split, folders in classes.items():
        for class_folder in folders:
            paths = sorted(iter_image_files(class_folder, ignored, visited), key=str)
            empty_folders += [class_folder] * (not paths)
            samples += [Sample(path, labels[compose_accents(class_folder.name)], split) for path in paths]
    if len({sample.label for sample in samples if sample.split in (None, "train")}) < min_classes and empty_folders:
        raise DataError(f"{empty_folders[0]} contains no images. Add images to this class folder or remove it.")
    note = "Class folders without images: {names}. They are left out."
    return keep_classes(DatasetIndex(root, samples, class_names, ignored), {sample.label for sample in samples}, note)


def scan_archives(root: Path) -> DatasetIndex:
    """Index the folders that several archives were extracted to as one dataset.

    Each archive contains split folders, class folders, or the images of one class, which is named after the archive.
    Class folders of an archive that is named like a split belong to that split. `root` has one subfolder per archive.

    Raises:
        DataError: As for `scan_root`; also if two archives contain the same class, or only some archives are splits.
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
        raise DataError(
            f"{root}: some archives contain splits, others do not. Name all of them train, val or test, or none."
        )
    for class_folders in classes.values():
        class_folders.sort(key=lambda folder: folder.name)
        check_unique_class_folders(root, class_folders)
    return scan_layout(root, folders, {split: classes[split] for split in (None, *SPLIT_FOLDERS) if split in classes})


def check_unique_class_folders(root: Path, class_folders: list[Path]) -> None:
    """Raise `DataError` if two archives contain a class folder of the same name."""
    folder_by_name: dict[str, Path] = {}
    for folder in class_folders:
        other = folder_by_name.setdefault(folder.name, folder)
        if other is not folder:
            archive_names = " and ".join(path.relative_to(root).parts[0] for path in (other, folder))
            raise DataError(
                f"{root}: the archives {archive_names} both contain {folder.name}. If they are splits, name them train "
                "and test; otherwise extract them into one folder."
            )
