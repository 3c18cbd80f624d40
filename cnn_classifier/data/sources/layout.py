"""Detection of dataset layouts: wrapper folders, split folders and class folders."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_classifier.data.sources.listing import is_image, list_subfolders
from cnn_classifier.errors import DataError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_BY_FOLDER_NAME = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}


def parse_split_name(name: str) -> str | None:
    """Return `train`, `val` or `test` for a folder name such as `Training` or `test_set`; None for other names."""
    return SPLIT_BY_FOLDER_NAME.get(re.sub(r"[ _-]?set$", "", name.lower()))


def skip_wrapper_dirs(root: Path, split: str | None = None) -> Path:
    """Return the folder inside wrapper folders, such as `PetImages/` in an archive.

    Args:
        root: The folder to start at, which is returned unchanged if it contains a single class.
        split: The split that `root` belongs to, if any; a wrapper may have the name of this split.
    """
    current, children = root, list_subfolders(root)
    while len(children) == 1 and parse_split_name(children[0].name) in (None, split) and not has_images(current):
        current = children[0]
        children = list_subfolders(current)
    return current if not has_images(current) and (len(children) > 1 or find_split_folders(current)) else root


def find_split_folders(root: Path) -> dict[str, Path]:
    """Return the split folders by split, train first.

    The result is empty if there are other folders as well and `train` has no class folders: then `train` is a class.

    Raises:
        DataError: If a split has several folders.
    """
    children = list_subfolders(root)
    matches = [folder for folder in children if parse_split_name(folder.name)]
    by_split = {parse_split_name(folder.name): folder for folder in matches}
    if len(matches) < len(children) and not ("train" in by_split and list_subfolders(by_split["train"])):
        return {}
    if len(by_split) < len(matches):
        raise DataError(f"{root} has {', '.join(folder.name for folder in matches)}. Expected one folder per split.")
    return {split: by_split[split] for split in SPLIT_FOLDERS if split in by_split}


def is_unlabeled(folder: Path, split: str) -> bool:
    """Return whether a split contains images but no class folders, like the test images of a competition."""
    children = list_subfolders(folder)
    if len(children) == 1 and parse_split_name(children[0].name) == split:
        folder, children = children[0], list_subfolders(children[0])
    return split != "train" and not children and has_images(folder)


def check_not_splits(root: Path, class_folders: Sequence[Path]) -> None:
    """Raise `DataError` if class folders look like splits with unknown names, since they contain class folders."""
    split_like = [
        folder
        for folder in class_folders
        if not SPLIT_BY_FOLDER_NAME.keys().isdisjoint(re.split(r"[\W\d_]+", folder.name.lower()))
    ]
    if (len(split_like) > 1 and not any(map(has_images, split_like))) or have_same_subfolders(class_folders):
        names = ", ".join(folder.name for folder in class_folders[:4])
        raise DataError(
            f"{root} has {names}, which look like splits, not classes. Set "
            "dataset.train_dir=FOLDER dataset.test_dir=FOLDER, or pass a CSV file if they are classes."
        )


def have_same_subfolders(folders: Sequence[Path]) -> bool:
    """Return whether all folders contain no images but the same subfolders, at least two."""
    expected_names: list[str] = []
    for folder in map(skip_wrapper_dirs, folders):
        names = [subfolder.name for subfolder in list_subfolders(folder)]
        if len(names) < 2 or names != (expected_names or names) or has_images(folder):
            return False
        expected_names = names
    return True


def has_images(folder: Path) -> bool:
    """Return whether a folder directly contains images."""
    return any(entry.is_file() and is_image(entry) for entry in folder.iterdir())


def check_dataset_folder(folder: Path, key: str) -> None:
    """Raise `DataError` if a folder does not exist; `key` names it in the message."""
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{key}: {folder} {problem}. Expected a folder with one folder of images per class.")


def common_root(folders: Iterable[Path]) -> Path:
    """Return the common parent of folders; the first folder if they are on different Windows drives."""
    absolute = [folder.absolute() for folder in folders]
    try:
        return Path(os.path.commonpath(absolute))
    except ValueError:
        return absolute[0]
