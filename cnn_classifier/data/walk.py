"""Walk folders of images: what is hidden, what is an image, and which links are followed."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from cnn_classifier.data.preprocess import EXTENSIONS
from cnn_classifier.errors import DataError

NO_EXTENSION = "(none)"
# macOS's half of a zip, the thumbnails of a Synology disk, what Windows and Linux keep on every disk.
SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


def image_files(folder: Path, ignored: Counter[str] | None = None, claimed: list[Path] | None = None) -> Iterator[Path]:
    """Every file with an image's extension below a folder; hidden ones are passed over.

    A link to a folder is followed unless what it leads to is read at another place, so that no image comes twice.

    Args:
        folder: Where to begin.
        ignored: Counts the other files, by extension.
        claimed: The real folders that are read in any case; those that a link led to are added.

    Raises:
        DataError: If a folder cannot be listed.
    """
    claimed = [real_path(folder)] if claimed is None else claimed
    for parent, folder_names, file_names in os.walk(folder, onerror=refuse, followlinks=True):
        here = real_path(Path(parent))
        folder_names[:] = [
            name for name in sorted(folder_names) if not is_hidden(name) and may_enter(here / name, claimed)
        ]
        for name in file_names:
            if is_image(name):
                yield Path(parent, name)
            elif not is_hidden(name) and ignored is not None:
                ignored[extension_of(name)] += 1


def count_loose(folder: Path, ignored: Counter[str]) -> None:
    """Count the files directly inside: beside the class folders they belong to no class, images or not."""
    for entry in folder.iterdir():
        if entry.is_file() and not is_hidden(entry.name):
            ignored[extension_of(entry.name)] += 1


def extension_of(name: str) -> str:
    return Path(name).suffix.lower() or NO_EXTENSION


def may_enter(folder: Path, claimed: list[Path]) -> bool:
    """Whether a folder, or what a link of this name leads to, is read nowhere else."""
    real = real_path(folder)
    if real == folder:  # no link; on Windows that holds for junctions too
        return real not in claimed
    if any(real.is_relative_to(other) or other.is_relative_to(real) for other in claimed):
        return False
    claimed.append(real)
    return True


def subfolders(folder: Path) -> list[Path]:
    """The folders directly inside, sorted by name, without hidden ones.

    A link to another of them, to `folder` itself or to a folder above is passed over.

    Raises:
        DataError: If the folder cannot be listed.
    """
    here = real_path(folder)
    try:
        entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name) and entry.is_dir()]
    except OSError as error:
        refuse(error)
    found: dict[Path, Path] = {}
    for entry in sorted(entries, key=lambda entry: (entry.is_symlink(), entry.name)):
        real = real_path(entry)
        if not here.is_relative_to(real):
            found.setdefault(real, entry)
    return sorted(found.values(), key=lambda entry: entry.name)  # by name: Windows sorts paths without case


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's own: `.cache`, `.DS_Store`, `__MACOSX`."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image; its content is looked at later."""
    return Path(name).suffix.lower() in EXTENSIONS and not is_hidden(name)


def real_path(path: Path) -> Path:
    """The path without links. Unlike `Path.resolve` it bears links in circles on every Python."""
    return Path(os.path.realpath(path))


def refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed ({error.strerror}); check its permissions") from error
