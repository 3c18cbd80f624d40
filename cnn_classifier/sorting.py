"""Sort files into folders by what is on them, and undo it; nothing is ever replaced."""

import csv
import os
import re
import shutil
from collections import Counter
from pathlib import Path

from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.predictor import UNKNOWN, Prediction
from cnn_classifier.storage import make_folder

UNCERTAIN, UNREADABLE = "uncertain", "unreadable"
LOG = ".sorted.csv"
# What no system, or only some, takes in the name of a folder.
FORBIDDEN = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class Sorter:
    """Files go into `root/<class>/`, `root/uncertain/` and `root/unreadable/`.

    Each step is written to a log before it is done, so that it can be undone even if the process dies in between.

    Args:
        root: The folder to sort into; created if need be.
        way: `copy`, `link` or `move`.

    Raises:
        StorageError: If the folder or its log cannot be written.
    """

    def __init__(self, root: Path, way: str) -> None:
        self.root, self.way = make_folder(root).absolute(), way
        self.placed: Counter[str] = Counter()

    def place(self, prediction: Prediction) -> None:
        """Sort one file.

        Raises:
            StorageError: If it cannot be copied, linked or moved.
        """
        source = Path(str(prediction.path)).absolute()
        if prediction.label is None:
            name = UNREADABLE
        else:
            name = UNCERTAIN if prediction.label == UNKNOWN else folder_name(prediction.label)
        target = free_name(make_folder(self.root / name) / source.name)
        try:
            with (self.root / LOG).open("a", newline="", encoding="utf-8", errors="surrogateescape") as log:
                csv.writer(log).writerow((self.way, source, target.relative_to(self.root).as_posix()))
            transfer(source, target, self.way)
        except OSError as error:
            raise StorageError(
                f"{source} cannot be sorted into {target} ({error.strerror}); `cnn-classifier unsort {self.root}` "
                "undoes what was done"
            ) from error
        self.placed[name] += 1

    def summary(self) -> str:
        """A line a folder, and how to undo it."""
        lines = [f"{count:6}  {self.root / name}" for name, count in sorted(self.placed.items())]
        return "\n".join([*lines, f"cnn-classifier unsort {self.root}  undoes this"])


def transfer(source: Path, target: Path, way: str) -> None:
    """Copy, link or move a file to a name that is free."""
    if way == "link":
        target.symlink_to(source)
    elif way == "copy":
        shutil.copy2(source, target)
    else:
        shutil.move(source, target)


def unsort(root: Path) -> str:
    """Undo what a `Sorter` did: moved files go back, copies and links are removed, and so are folders left empty.

    Returns:
        What was done, in a line.

    Raises:
        DataError: If the folder has no log of it, or a moved file's old place is taken.
        StorageError: If a file cannot be moved or removed.
    """
    root = root.expanduser().absolute()
    try:
        with (root / LOG).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            steps = [(way, Path(source), root / target) for way, source, target in csv.reader(file)]
    except (OSError, ValueError) as error:
        raise DataError(f"{root} was not sorted into ({error}); give the DIR of --sort-into") from error
    undone = Counter(undo(*step, root) for step in reversed(steps))
    (root / LOG).unlink()
    for folder in {target.parent for _, _, target in steps}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return f"{undone['back']} files are back where they were, {undone['removed']} copies and links are gone"


def undo(way: str, source: Path, target: Path, root: Path) -> str:
    """Undo one step, if it was done at all: `back`, `removed` or `nothing`."""
    if root not in Path(os.path.normpath(target)).parents:
        raise DataError(f"{root / LOG} names {target}, which is not below it; it is not a log that we wrote")
    if not os.path.lexists(target):
        return "nothing"
    try:
        if way != "move":
            target.unlink()
            return "removed"
        if os.path.lexists(source):
            raise DataError(f"{source} is there again, so {target} cannot go back to it; move one of them by hand")
        make_folder(source.parent)
        shutil.move(target, source)
    except OSError as error:
        raise StorageError(f"{target} cannot be brought back to {source} ({error.strerror})") from error
    return "back"


def folder_name(class_name: str) -> str:
    """A class name as the name of one folder, wherever the name came from."""
    name = FORBIDDEN.sub("_", class_name).strip(". ") or "_"
    return f"{name}_" if name in (UNCERTAIN, UNREADABLE) else name


def free_name(path: Path) -> Path:
    """This path, or `name-2.jpg`, `name-3.jpg` and so on where it is taken."""
    count, free = 1, path
    while os.path.lexists(free):
        count += 1
        free = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return free
