"""Listing of image files and folders, without hidden and system files, following each link once."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path
from typing import NoReturn

from cnn_classifier.data.images.file_types import is_image_file
from cnn_classifier.errors import DataError

NO_EXTENSION = "(none)"
# System folders of macOS (in zip archives), Synology, Windows and Linux.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
# The log that `cnn-classifier sort` writes into a folder, and the folders beside it that are no classes.
SORT_LOG = ".sorted.csv"
REJECTED_FOLDER, UNREADABLE_FOLDER = SORT_FOLDERS = ("_rejected", "_unreadable")


class VisitedDirs:
    """The resolved folders that are listed anyway, so that links to them are not followed.

    Args:
        folders: The resolved folders to start with.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders: set[Path] = set()
        self.ancestors: set[Path] = set()
        for folder in folders:
            self.add(folder)

    def add(self, folder: Path) -> None:
        """Add a resolved folder."""
        self.folders.add(folder)
        if folder.parent not in self.ancestors:
            self.ancestors.update(folder.parents)

    def overlaps(self, folder: Path) -> bool:
        """Return whether a resolved folder is inside, equal to or above an added folder."""
        return folder in self.ancestors or not self.folders.isdisjoint((folder, *folder.parents))


def iter_image_files(
    folder: Path, ignored: Counter[str] | None = None, visited: VisitedDirs | None = None
) -> Iterator[Path]:
    """Yield every image file below a folder, see `is_image_file`.

    Hidden files, pipes, sockets and devices are skipped. A link to a folder is followed unless its target is listed
    elsewhere, so that no image is listed twice.

    Args:
        folder: The folder to start at.
        ignored: A counter of the other files by extension, which is updated.
        visited: The folders that are listed elsewhere; the targets of followed links are added.

    Raises:
        DataError: If a folder cannot be listed.
    """
    visited = visited or VisitedDirs([real_path(folder)])
    for parent, folder_names, file_names in os.walk(folder, onerror=raise_unlistable, followlinks=True):
        real_parent = real_path(Path(parent))
        folder_names[:] = [
            name for name in sorted(folder_names) if not is_hidden(name) and should_enter(real_parent / name, visited)
        ]
        for name in file_names:
            if is_image(path := Path(parent, name)):
                yield path
            elif not is_hidden(name) and ignored is not None:
                ignored[get_extension(name)] += 1


def count_unlabeled(folder: Path, ignored: Counter[str]) -> None:
    """Count the files that belong to no class: those directly inside a folder, and those that `sort` did not assign."""
    for entry in folder.iterdir():
        if entry.is_file() and not is_hidden(entry.name):
            ignored[get_extension(entry.name)] += 1
        elif is_sort_folder(entry):
            ignored[f"in {entry.name}, which is no class"] += sum(1 for _ in iter_image_files(entry))


def get_extension(name: str) -> str:
    """Return the lower-case extension of a file name, or `NO_EXTENSION`."""
    return Path(name).suffix.lower() or NO_EXTENSION


def should_enter(folder: Path, visited: VisitedDirs) -> bool:
    """Return whether to list a folder, or the target of a link, because it is not listed elsewhere."""
    real = real_path(folder)
    if real == folder:  # neither a link nor a Windows junction
        return real not in visited.folders
    if visited.overlaps(real):
        return False
    visited.add(real)
    return True


def list_subfolders(folder: Path) -> list[Path]:
    """Return the folders directly inside a folder, sorted by name, without hidden ones and those of `is_sort_folder`.

    A link to another subfolder, to the folder itself or to one of its parents is skipped.

    Raises:
        DataError: If the folder cannot be listed.
    """
    real_folder = real_path(folder)
    ancestors = {real_folder, *real_folder.parents}
    try:
        with os.scandir(folder) as entries:
            # Unlike `DirEntry.is_dir`, `os.path.isdir` does not raise for circular links.
            folder_entries = [entry for entry in entries if not is_hidden(entry.name) and os.path.isdir(entry)]  # noqa: PTH112
            names = sorted((entry.is_symlink(), entry.name) for entry in folder_entries)
    except OSError as error:
        raise_unlistable(error)
    name_by_real_path: dict[Path, str] = {}
    for is_link, name in names:
        # `is_symlink` is False for Windows junctions, so all folders are resolved there.
        real = real_path(real_folder / name) if is_link or os.name == "nt" else real_folder / name
        if real not in ancestors:
            name_by_real_path.setdefault(real, name)
    paths = [folder / name for name in sorted(name_by_real_path.values())]
    return [path for path in paths if not is_sort_folder(path)]


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden or a system folder, such as `.cache`, `.DS_Store` or `__MACOSX`."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_sort_folder(path: Path) -> bool:
    """Return whether `cnn-classifier sort` created a folder for rejected or unreadable files, which is no class."""
    return path.name in SORT_FOLDERS and path.with_name(SORT_LOG).exists()


def is_image(path: Path) -> bool:
    """Return whether a file is an image and not hidden; whether it can be decoded is checked later."""
    return not is_hidden(path.name) and is_image_file(path)


def real_path(path: Path) -> Path:
    """Return a path with links resolved; unlike `Path.resolve`, this supports circular links in all Python versions."""
    return Path(os.path.realpath(path))


def raise_unlistable(error: OSError) -> NoReturn:
    """Raise `DataError` for a folder that cannot be listed."""
    raise DataError(f"Cannot list {error.filename}: {error.strerror}. Check its permissions.") from error


def expand_image_paths(patterns: Iterable[str]) -> list[Path]:
    """Return the image files for paths, folders (searched recursively) and patterns such as `photos/*.jpg`.

    Raises:
        DataError: If a pattern matches no file.
    """
    image_paths: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matched_paths = sorted(iter_image_files(path))
        else:  # an existing file takes precedence over a pattern
            matches = [str(path)] if path.is_file() else glob(str(path), recursive=True)  # noqa: PTH207 pathlib refuses **.jpg
            matched_paths = sorted(Path(match) for match in matches if Path(match).is_file())
        if not matched_paths:
            problem = "contains no images" if path.is_dir() else "does not exist and matches nothing"
            raise DataError(f"{pattern} {problem}. Pass an image, a folder of images or a pattern.")
        image_paths += matched_paths
    return image_paths
