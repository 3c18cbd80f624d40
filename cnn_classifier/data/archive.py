"""Unpack an archive of images, whole or not at all; an archive is not trusted."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from cnn_classifier.data.lock import locked
from cnn_classifier.data.members import CHUNK, ZIP_STARTS, Member, read_zip, reading, refused, tar_members
from cnn_classifier.data.unpacking import MARKER, MAX_MEMBERS, Unpacking
from cnn_classifier.errors import StorageError
from cnn_classifier.storage import make_folder

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether the name says that it can be unpacked; `unpack` itself goes by the content."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder` unless that was done; the folder appears whole or not at all.

    Files and folders only, without their permissions, owners and dates; what macOS adds (`__MACOSX`, `._name`) is left
    out. One process unpacks, others that want the same folder wait for it.

    Raises:
        DataError: If the archive is damaged, or anything in it is unsafe: see `Unpacking`, `safe_name`,
            `read_zip` and `tar_members`. Nothing of it is left then.
        StorageError: If the folder cannot be written, is not ours, or the disk is too small.
    """
    if (folder / MARKER).exists():
        return folder
    make_folder(folder.parent)
    partial = folder.with_name(f".partial-{folder.name}")
    try:
        with locked(folder):
            if (folder / MARKER).exists():
                return folder
            if folder.exists():
                raise StorageError(f"{folder} is there but was not unpacked by us; move or delete it")
            try:
                shutil.rmtree(partial, ignore_errors=True)  # of a try that was killed
                unpack_all(archive, partial)
                partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except (OSError, UnicodeEncodeError) as error:
        told = getattr(error, "strerror", None) or error
        raise StorageError(f"{folder} cannot be written ({told}); free space there or choose another folder") from error
    return folder


def unpack_all(archive: Path, folder: Path) -> None:
    """Unpack into a new folder and mark it as complete."""
    with reading(archive):
        file = archive.open("rb")
    with file:
        digest, declared, members = open_archive(archive, file)
        folder.mkdir()
        unpacking = Unpacking(archive, folder)
        unpacking.require_space(declared)
        with tqdm(
            desc=f"unpacking {archive.name}", total=declared or None, unit="B", unit_scale=True, disable=None
        ) as bar:
            for member in members:
                bar.update(unpacking.add(member))
    done = {"archive": archive.name, "sha256": digest, "files": unpacking.files, "bytes": unpacking.bytes}
    with (folder / MARKER).open("w", encoding="utf-8") as marker:
        json.dump(done, marker, indent=2)
        marker.flush()
        os.fsync(marker.fileno())


def open_archive(archive: Path, file: IO[bytes]) -> tuple[str, int, Iterator[Member]]:
    """The SHA-256 of the archive, the bytes that it declares (0 if it does not say), and its members."""
    with reading(archive):
        start = file.read(4)
        file.seek(0)
        digest, entries, tail = hashlib.sha256(), 0, b""
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            entries += (tail + chunk).count(b"PK\1\2")
            tail = chunk[-3:]
        file.seek(0)
    if start not in ZIP_STARTS:
        return digest.hexdigest(), 0, tar_members(archive, file)
    # Every entry of the directory starts so. zipfile goes by no other count, and reads them all into memory.
    if entries > MAX_MEMBERS:
        raise refused(archive, archive.name, f"has more than {MAX_MEMBERS:,} members")
    return digest.hexdigest(), *read_zip(archive, file)
