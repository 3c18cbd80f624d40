"""Tell what a folder holds: a wrapper to go through, split folders or class folders."""

import re
from collections.abc import Sequence
from pathlib import Path

from cnn_classifier.data.walk import is_image, subfolders
from cnn_classifier.errors import DataError

SPLIT_FOLDERS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}


def split_of(name: str) -> str | None:
    """train, val or test, whichever of its names is used (`Training`, `test_set`); None if it is no split's."""
    return SPLIT_OF.get(re.sub(r"[ _-]?set$", "", name.lower()))


def unwrapped(root: Path, split: str | None = None) -> Path:
    """The folder that wrappers hold, such as an archive's `PetImages/`.

    Args:
        root: Where to begin; also the answer where a single class is all there is.
        split: The split that `root` is the folder of, if any; its wrapper may be called so once more.
    """
    here, inside = root, subfolders(root)
    while len(inside) == 1 and split_of(inside[0].name) in (None, split) and not holds_images(here):
        here = inside[0]
        inside = subfolders(here)
    return here if not holds_images(here) and (len(inside) > 1 or split_folders(here)) else root


def split_folders(root: Path) -> dict[str, Path]:
    """The folders of the splits, train first; none if they are not all there is and `train` has no class folders.

    Then `train` is a class of that name.
    """
    inside = subfolders(root)
    found = [folder for folder in inside if split_of(folder.name)]
    by_split = {split_of(folder.name): folder for folder in found}
    if len(found) < len(inside) and not ("train" in by_split and subfolders(by_split["train"])):
        return {}
    if len(by_split) < len(found):
        raise DataError(f"{root} has {', '.join(folder.name for folder in found)}; expected one folder a split")
    return {split: by_split[split] for split in SPLIT_FOLDERS if split in by_split}


def is_unlabelled(folder: Path, split: str) -> bool:
    """Whether a split holds images but no class folders, as the test images of a competition do."""
    inside = subfolders(folder)
    if len(inside) == 1 and split_of(inside[0].name) == split:
        folder, inside = inside[0], subfolders(inside[0])
    return split != "train" and not inside and holds_images(folder)


def refuse_splits(root: Path, classes: Sequence[Path]) -> None:
    """Raise DataError if class folders look like splits of unknown names: they hold no images, but the classes."""
    named = [folder for folder in classes if not SPLIT_OF.keys().isdisjoint(re.split(r"[\W\d_]+", folder.name.lower()))]
    if (len(named) > 1 and not any(map(holds_images, named))) or hold_the_same(classes):
        raise DataError(
            f"{root} has {', '.join(folder.name for folder in classes[:4])}, which look like splits, not classes; give "
            "dataset.train_dir=FOLDER dataset.test_dir=FOLDER, or a CSV if they are classes"
        )


def hold_the_same(folders: Sequence[Path]) -> bool:
    """Whether every folder holds no images but folders of the same two names or more."""
    first: list[str] = []
    for folder in map(unwrapped, folders):
        inside = [found.name for found in subfolders(folder)]
        if len(inside) < 2 or inside != (first or inside) or holds_images(folder):
            return False
        first = inside
    return True


def holds_images(folder: Path) -> bool:
    return any(is_image(entry.name) and entry.is_file() for entry in folder.iterdir())


def require_folder(folder: Path, key: str) -> None:
    """Raise DataError, in which the folder is called `key`, if there is none."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{key}: {folder} {what}; expected a folder with one folder of images a class")
