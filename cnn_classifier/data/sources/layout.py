"""Tell what a folder holds: a wrapper to go through, split folders or class folders."""

import re
from collections.abc import Sequence
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
    """train, val or test, whichever of its names is used (`Training`, `test_set`); None if it is no split's."""
    return SPLIT_BY_FOLDER_NAME.get(re.sub(r"[ _-]?set$", "", name.lower()))


def skip_wrapper_dirs(root: Path, split: str | None = None) -> Path:
    """The folder that wrappers hold, such as an archive's `PetImages/`.

    Args:
        root: Where to begin; also the answer where a single class is all there is.
        split: The split that `root` is the folder of, if any; its wrapper may be called so once more.
    """
    current, children = root, list_subfolders(root)
    while len(children) == 1 and parse_split_name(children[0].name) in (None, split) and not has_images(current):
        current = children[0]
        children = list_subfolders(current)
    return current if not has_images(current) and (len(children) > 1 or find_split_folders(current)) else root


def find_split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits, train first; none if they are not all there is and `train` has no class folders.

    Then `train` is a class of that name.
    """
    children = list_subfolders(root)
    matches = [folder for folder in children if parse_split_name(folder.name)]
    by_split = {parse_split_name(folder.name): folder for folder in matches}
    if len(matches) < len(children) and not ("train" in by_split and list_subfolders(by_split["train"])):
        return {}
    if len(by_split) < len(matches):
        raise DataError(f"{root} has {', '.join(folder.name for folder in matches)}; expected one folder a split")
    return {split: by_split[split] for split in SPLIT_FOLDERS if split in by_split}


def is_unlabeled(folder: Path, split: str) -> bool:
    """Whether a split holds images but no class folders, as the test images of a competition do."""
    children = list_subfolders(folder)
    if len(children) == 1 and parse_split_name(children[0].name) == split:
        folder, children = children[0], list_subfolders(children[0])
    return split != "train" and not children and has_images(folder)


def check_not_splits(root: Path, class_folders: Sequence[Path]) -> None:
    """Raise DataError if class folders look like splits of unknown names: they hold no images, but the classes."""
    split_like = [
        folder
        for folder in class_folders
        if not SPLIT_BY_FOLDER_NAME.keys().isdisjoint(re.split(r"[\W\d_]+", folder.name.lower()))
    ]
    if (len(split_like) > 1 and not any(map(has_images, split_like))) or have_same_subfolders(class_folders):
        raise DataError(
            f"{root} has {', '.join(folder.name for folder in class_folders[:4])}, which look like splits, not classes; give "
            "dataset.train_dir=FOLDER dataset.test_dir=FOLDER, or a CSV if they are classes"
        )


def have_same_subfolders(folders: Sequence[Path]) -> bool:
    """Whether every folder holds no images but folders of the same two names or more."""
    expected_names: list[str] = []
    for folder in map(skip_wrapper_dirs, folders):
        names = [subfolder.name for subfolder in list_subfolders(folder)]
        if len(names) < 2 or names != (expected_names or names) or has_images(folder):
            return False
        expected_names = names
    return True


def has_images(folder: Path) -> bool:
    return any(is_image(entry.name) and entry.is_file() for entry in folder.iterdir())


def check_dataset_folder(folder: Path, key: str) -> None:
    """Raise DataError, in which the folder is called `key`, if there is none."""
    if not folder.is_dir():
        problem = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{key}: {folder} {problem}; expected a folder with one folder of images a class")
