"""Read archives that belong together, unpacked side by side."""

from collections import defaultdict
from pathlib import Path

from cnn_classifier.data.folder import Scan, scan_layout
from cnn_classifier.data.layout import SPLIT_FOLDERS, holds_images, split_folders, split_of, unwrapped
from cnn_classifier.data.walk import subfolders
from cnn_classifier.errors import DataError


def scan_together(root: Path) -> Scan:
    """The images of `root/<archive>`: what the archives hold makes up one layout.

    An archive holds split folders, or class folders, or the images of one class, which is then called like the
    archive. Class folders in an archive that is called like a split are of that split.

    Raises:
        DataError: As for `scan_root`; or if two archives hold one class, or only some of them are of a split.
    """
    folders: dict[str | None, Path] = {}
    classes: defaultdict[str | None, list[Path]] = defaultdict(list)
    for archive in subfolders(root):
        place = unwrapped(archive)
        parts: list[tuple[str | None, Path]] = [*split_folders(place).items()] or [(split_of(archive.name), place)]
        for split, folder in parts:
            folders[split] = unwrapped(folder, split)
            inside = subfolders(folders[split])
            classes[split] += [folders[split]] if len(inside) < 2 and holds_images(folders[split]) else inside
    if None in classes and len(classes) > 1:
        raise DataError(f"{root}: some archives hold splits, others do not; call each train, val or test, or none")
    for found in classes.values():
        found.sort(key=lambda folder: folder.name)
        require_one_folder_a_class(root, found)
    return scan_layout(root, folders, {split: classes[split] for split in (None, *SPLIT_FOLDERS) if split in classes})


def require_one_folder_a_class(root: Path, classes: list[Path]) -> None:
    first: dict[str, Path] = {}
    for folder in classes:
        other = first.setdefault(folder.name, folder)
        if other is not folder:
            both = " and ".join(place.relative_to(root).parts[0] for place in (other, folder))
            raise DataError(
                f"{root}: the archives {both} both hold {folder.name}; call them train and test if they are splits, "
                "or unpack them into one folder"
            )
