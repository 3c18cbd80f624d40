"""Sort files into folders by what is on them, and undo it; nothing is ever replaced."""

import csv
import os
import re
import shutil
from collections import Counter
from pathlib import Path

from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.files import ensure_writable_dir
from cnn_classifier.inference.predictor import UNKNOWN, Prediction

UNCERTAIN, UNREADABLE = "uncertain", "unreadable"
LOG_FILE = ".sorted.csv"
# What no system, or only some, takes in the name of a folder.
FORBIDDEN_CHARS = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


class Sorter:
    """Files go into `root/<class>/`, `root/uncertain/` and `root/unreadable/`.

    Each step is written to a log before it is done, so that it can be undone even if the process dies in between.

    Args:
        root: The folder to sort into; created if need be.
        way: `copy`, `link` or `move`.

    Raises:
        StorageError: If the folder or its log cannot be written.
    """

    def __init__(self, root: Path, mode: str) -> None:
        self.root, self.mode = ensure_writable_dir(root).absolute(), mode
        self.counts: Counter[str] = Counter()

    def add(self, prediction: Prediction) -> None:
        """Sort one file.

        Raises:
            StorageError: If it cannot be copied, linked or moved.
        """
        source = Path(str(prediction.path)).absolute()
        if prediction.label is None:
            name = UNREADABLE
        else:
            name = UNCERTAIN if prediction.label == UNKNOWN else to_folder_name(prediction.label)
        target = unique_path(ensure_writable_dir(self.root / name) / source.name)
        try:
            with (self.root / LOG_FILE).open("a", newline="", encoding="utf-8", errors="surrogateescape") as log:
                csv.writer(log).writerow((self.mode, source, target.relative_to(self.root).as_posix()))
            transfer_file(source, target, self.mode)
        except OSError as error:
            raise StorageError(
                f"{source} cannot be sorted into {target} ({error.strerror}); `cnn-classifier unsort {self.root}` "
                "undoes what was done"
            ) from error
        self.counts[name] += 1

    def summary(self) -> str:
        """A line a folder, and how to undo it."""
        lines = [f"{count:6}  {self.root / name}" for name, count in sorted(self.counts.items())]
        return "\n".join([*lines, f"cnn-classifier unsort {self.root}  undoes this"])


def transfer_file(source: Path, target: Path, mode: str) -> None:
    """Copy, link or move a file to a name that is free."""
    if mode == "link":
        target.symlink_to(source)
    elif mode == "copy":
        shutil.copy2(source, target)
    else:
        shutil.move(source, target)


def undo_sort(root: Path) -> str:
    """Undo what a `Sorter` did: moved files go back, copies and links are removed, and so are folders left empty.

    Returns:
        What was done, in a line.

    Raises:
        DataError: If the folder has no log of it, or a moved file's old place is taken.
        StorageError: If a file cannot be moved or removed.
    """
    root = root.expanduser().absolute()
    try:
        with (root / LOG_FILE).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            steps = [(mode, Path(source), root / target) for mode, source, target in csv.reader(file)]
    except (OSError, ValueError) as error:
        raise DataError(f"{root} was not sorted into ({error}); give the DIR of --sort-into") from error
    outcomes = Counter(undo_step(*step, root) for step in reversed(steps))
    (root / LOG_FILE).unlink()
    for folder in {target.parent for _, _, target in steps}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return f"{outcomes['back']} files are back where they were, {outcomes['removed']} copies and links are gone"


def undo_step(mode: str, source: Path, target: Path, root: Path) -> str:
    """Undo one step, if it was done at all: `back`, `removed` or `nothing`."""
    if root not in Path(os.path.normpath(target)).parents:
        raise DataError(f"{root / LOG_FILE} names {target}, which is not below it; it is not a log that we wrote")
    if not os.path.lexists(target):
        return "nothing"
    try:
        if mode != "move":
            target.unlink()
            return "removed"
        if os.path.lexists(source):
            raise DataError(f"{source} is there again, so {target} cannot go back to it; move one of them by hand")
        ensure_writable_dir(source.parent)
        shutil.move(target, source)
    except OSError as error:
        raise StorageError(f"{target} cannot be brought back to {source} ({error.strerror})") from error
    return "back"


def to_folder_name(class_name: str) -> str:
    """A class name as the name of one folder, wherever the name came from."""
    name = FORBIDDEN_CHARS.sub("_", class_name).strip(". ") or "_"
    return f"{name}_" if name in (UNCERTAIN, UNREADABLE) else name


def unique_path(path: Path) -> Path:
    """This path, or `name-2.jpg`, `name-3.jpg` and so on where it is taken."""
    count, candidate = 1, path
    while os.path.lexists(candidate):
        count += 1
        candidate = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return candidate
