"""Read archives that belong together, unpacked side by side."""

from collections import defaultdict
from pathlib import Path

from cnn_classifier.data.folder import DatasetIndex, scan_layout
from cnn_classifier.data.layout import (
    SPLIT_FOLDERS,
    find_split_folders,
    has_images,
    parse_split_name,
    skip_wrapper_dirs,
)
from cnn_classifier.data.walk import list_subfolders
from cnn_classifier.errors import DataError


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
