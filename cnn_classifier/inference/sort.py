"""Sorting of image files into class folders, with undo; existing files are never overwritten."""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cnn_classifier.data.sources.class_names import casefold_path, pluralize
from cnn_classifier.data.sources.listing import REJECTED_FOLDER, SORT_FOLDERS, SORT_LOG, UNREADABLE_FOLDER
from cnn_classifier.errors import DataError, StorageError, quote_argument
from cnn_classifier.files import ensure_writable_dir
from cnn_classifier.inference.prediction import Prediction

# Characters that are not allowed in folder names on Linux, macOS or Windows, and names that Windows reserves.
FORBIDDEN_CHARS = re.compile(r'[\\/:*?"<>|\x00-\x1f]')
RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)\s*(\.|$)", re.IGNORECASE)
MAX_NAME_BYTES = 200  # file systems allow 255


class Sorter:
    """A sorter of image files into `root/<class>/`, `root/_rejected/` and `root/_unreadable/`.

    Each step is logged before it is executed, so that it can be undone even if the process is killed.

    Args:
        root: The folder to sort into. It is created if necessary.
        mode: The operation: `copy`, `link` or `move`.
        class_names: The class names of the model.

    Raises:
        StorageError: If the folder cannot be written, or contains a file with the name of a folder.
    """

    def __init__(self, root: Path, mode: str, class_names: Sequence[str]) -> None:
        self.root, self.mode = ensure_writable_dir(root).absolute(), mode
        self.folder_by_class = to_folder_names(class_names)
        for name in (*SORT_FOLDERS, *self.folder_by_class.values()):
            if os.path.lexists(self.root / name) and not (self.root / name).is_dir():
                raise StorageError(f"{self.root / name} is not a folder. Move it, or choose another folder.")
        self.counts: Counter[str] = Counter()

    def add(self, prediction: Prediction) -> None:
        """Sort the file of a prediction.

        Args:
            prediction: The prediction, whose `path` is the file.

        Raises:
            StorageError: If the file cannot be copied, linked or moved.
        """
        source = Path(str(prediction.path)).absolute()
        if prediction.label is None:
            name = UNREADABLE_FOLDER
        else:
            name = REJECTED_FOLDER if prediction.rejected else self.folder_by_class[prediction.label]
        target = unique_path(ensure_writable_dir(self.root / name) / source.name)
        try:
            with (self.root / SORT_LOG).open("a", newline="", encoding="utf-8", errors="surrogateescape") as log:
                csv.writer(log).writerow((self.mode, source, target.relative_to(self.root).as_posix()))
            transfer_file(source, target, self.mode)
        except OSError as error:
            raise StorageError(
                f"Cannot {self.mode} {source} to {target}: {error.strerror}. "
                f"Undo the completed steps with: cnn-classifier sort --undo {quote_argument(str(self.root))}"
            ) from error
        self.counts[name] += 1

    def summary(self) -> str:
        """Return the number of files per folder, one per line, and the command that undoes the sorting."""
        renamed = {folder: f"  (class {name!r})" for name, folder in self.folder_by_class.items() if folder != name}
        lines = [f"{count:6}  {self.root / name}{renamed.get(name, '')}" for name, count in sorted(self.counts.items())]
        return "\n".join([*lines, f"Undo with: cnn-classifier sort --undo {quote_argument(str(self.root))}"])


def transfer_file(source: Path, target: Path, mode: str) -> None:
    """Copy, link or move a file to a path that does not exist."""
    if mode == "link":
        target.symlink_to(source)
    elif mode == "copy":
        shutil.copy2(source, target)
    else:
        shutil.move(source, target)


def undo_sort(root: Path) -> str:
    """Undo the steps of a `Sorter`.

    Moved files are moved back; copies, links and empty folders are removed.

    Args:
        root: The folder that was sorted into.

    Returns:
        A summary in one line.

    Raises:
        DataError: If the folder has no valid log, or the original path of a moved file exists.
        StorageError: If a file cannot be moved or removed.
    """
    root = root.expanduser().absolute()
    try:
        with (root / SORT_LOG).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            steps = [(mode, Path(source), root / target) for mode, source, target in csv.reader(file)]
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot read the sort log of {root}: {error}. Pass the directory given as --into.") from error
    outcomes = Counter(undo_step(*step, root) for step in reversed(steps))
    (root / SORT_LOG).unlink()
    for folder in {target.parent for _, _, target in steps}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    parts = [f"moved {pluralize(outcomes['restored'], 'file')} back"] if outcomes["restored"] else []
    parts += [f"removed {pluralize(outcomes['removed'], 'copied or linked file')}"] if outcomes["removed"] else []
    return f"{', '.join(parts).capitalize() or 'Nothing to undo'}."


def undo_step(mode: str, source: Path, target: Path, root: Path) -> str:
    """Undo one step, if it was executed, and return the outcome: `restored`, `removed` or `nothing`."""
    if root not in Path(os.path.normpath(target)).parents:
        raise DataError(
            f"Cannot undo {root / SORT_LOG}: it names {target}, which is outside {root}. "
            "Expected a log written by cnn-classifier sort."
        )
    if not os.path.lexists(target):
        return "nothing"
    try:
        if mode != "move":
            target.unlink()
            return "removed"
        if os.path.lexists(source):
            raise DataError(f"Cannot move {target} back to {source}: that file exists. Rename one of them.")
        ensure_writable_dir(source.parent)
        shutil.move(target, source)
    except OSError as error:
        raise StorageError(f"Cannot undo {target} from {source}: {error.strerror}.") from error
    return "restored"


def to_folder_names(class_names: Iterable[str]) -> dict[str, str]:
    """Return a folder for each class name, all different on every file system and none of `SORT_FOLDERS`.

    If two names collide, such as `a/b` and `a_b`, the name that is valid as it is remains unchanged, and the other one
    becomes `a_b-2`.
    """
    folder_by_class: dict[str, str] = {}
    used = set(map(casefold_path, SORT_FOLDERS))
    for class_name in sorted(dict.fromkeys(class_names), key=lambda name: to_folder_name(name) != name):
        base_name, count = to_folder_name(class_name), 1
        folder = base_name
        while casefold_path(folder) in used:
            count += 1
            folder = f"{base_name}-{count}"
        used.add(casefold_path(folder))
        folder_by_class[class_name] = folder
    return folder_by_class


def to_folder_name(class_name: str) -> str:
    """Convert a class name, which is not trusted, to the name of a single folder that every file system allows."""
    name = (
        FORBIDDEN_CHARS.sub("_", class_name)
        .encode(errors="ignore")[:MAX_NAME_BYTES]
        .decode(errors="ignore")
        .strip(". ")
        or "_"
    )
    return f"_{name}" if RESERVED_NAMES.match(name) else name


def unique_path(path: Path) -> Path:
    """Return the path, or `name-2.jpg`, `name-3.jpg` and so on if it exists."""
    count, candidate = 1, path
    while os.path.lexists(candidate):
        count += 1
        candidate = path.with_name(f"{path.stem}-{count}{path.suffix}")
    return candidate
