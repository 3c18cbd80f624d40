"""Walk folders of images: what is hidden, what is an image, and which links are followed."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path
from typing import NoReturn

from cnn_classifier.data.images.decode import EXTENSIONS, is_special
from cnn_classifier.errors import DataError

NO_EXTENSION = "(none)"
# macOS's half of a zip, the thumbnails of a Synology disk, what Windows and Linux keep on every disk.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


class VisitedDirs:
    """The real folders that are read at a place of their own, and all that these are in."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders: set[Path] = set()
        self.ancestors: set[Path] = set()
        for folder in folders:
            self.add(folder)

    def add(self, folder: Path) -> None:
        self.folders.add(folder)
        if folder.parent not in self.ancestors:
            self.ancestors.update(folder.parents)

    def overlaps(self, folder: Path) -> bool:
        """Whether a part of the folder is claimed, or it is part of one that is."""
        return folder in self.ancestors or not self.folders.isdisjoint((folder, *folder.parents))


def iter_image_files(
    folder: Path, ignored: Counter[str] | None = None, visited: VisitedDirs | None = None
) -> Iterator[Path]:
    """Every file with an image's extension below a folder; hidden ones are passed over.

    Pipes, sockets and devices are no images, whatever their names. A link to a folder is followed unless what it leads
    to is read at another place, so that no image comes twice.

    Args:
        folder: Where to begin.
        ignored: Counts the other files, by extension.
        claims: What is read in any case; the folders that a link led to are added.

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
            if is_image(name) and not is_special(path := Path(parent, name)):
                yield path
            elif not is_hidden(name) and ignored is not None:
                ignored[get_extension(name)] += 1


def count_unlabeled(folder: Path, ignored: Counter[str]) -> None:
    """Count the files directly inside: beside the class folders they belong to no class, images or not."""
    for entry in folder.iterdir():
        if entry.is_file() and not is_hidden(entry.name):
            ignored[get_extension(entry.name)] += 1


def get_extension(name: str) -> str:
    return Path(name).suffix.lower() or NO_EXTENSION


def should_enter(folder: Path, visited: VisitedDirs) -> bool:
    """Whether a folder, or what a link of this name leads to, is read nowhere else."""
    real = real_path(folder)
    if real == folder:  # no link; on Windows that holds for junctions too
        return real not in visited.folders
    if visited.overlaps(real):
        return False
    visited.add(real)
    return True


def list_subfolders(folder: Path) -> list[Path]:
    """The folders directly inside, sorted by name, without hidden ones.

    A link to another of them, to `folder` itself or to a folder above is passed over.

    Raises:
        DataError: If the folder cannot be listed.
    """
    real_folder = real_path(folder)
    ancestors = {real_folder, *real_folder.parents}
    try:
        with os.scandir(folder) as entries:
            # Unlike an entry's own `is_dir` this bears links in circles.
            folder_entries = [entry for entry in entries if not is_hidden(entry.name) and os.path.isdir(entry)]  # noqa: PTH112
            names = sorted((entry.is_symlink(), entry.name) for entry in folder_entries)
    except OSError as error:
        raise_unlistable(error)
    name_by_real_path: dict[Path, str] = {}
    for is_link, name in names:
        real = (
            real_path(real_folder / name) if is_link or os.name == "nt" else real_folder / name
        )  # junctions say that they are none
        if real not in ancestors:
            name_by_real_path.setdefault(real, name)
    return [folder / name for name in sorted(name_by_real_path.values())]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: `.cache`, `.DS_Store`, `__MACOSX`."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image; its content is looked at later."""
    return name[name.rfind(".") :].lower() in EXTENSIONS and not is_hidden(name)


def real_path(path: Path) -> Path:
    """The path without links. Unlike `Path.resolve` it bears links in circles on every Python."""
    return Path(os.path.realpath(path))


def raise_unlistable(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed ({error.strerror}); check its permissions") from error


def expand_image_paths(patterns: Iterable[str]) -> list[Path]:
    """The files meant by paths, folders (searched through) and patterns such as `photos/*.jpg`.

    Raises:
        DataError: If a word leads to no file.
    """
    image_paths: list[Path] = []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            matched_paths = sorted(iter_image_files(path))
        else:  # a file whose name looks like a pattern is still that file
            matches = [str(path)] if path.is_file() else glob(str(path), recursive=True)  # noqa: PTH207 pathlib refuses **.jpg
            matched_paths = sorted(Path(match) for match in matches if Path(match).is_file())
        if not matched_paths:
            problem = "holds no images" if path.is_dir() else "does not exist and matches nothing"
            raise DataError(f"{pattern} {problem}; give an image, a folder of images or a pattern")
        image_paths += matched_paths
    return image_paths
