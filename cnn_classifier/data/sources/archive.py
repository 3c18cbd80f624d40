"""Unpack an archive of images, whole or not at all; an archive is not trusted."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

from cnn_classifier.data.sources.archive_extract import COMPLETION_MARKER, MAX_MEMBERS, SafeExtractor
from cnn_classifier.data.sources.archive_members import (
    CHUNK_BYTES,
    ZIP_MAGICS,
    Member,
    archive_errors,
    iter_tar_members,
    read_zip,
    unsafe_member_error,
)
from cnn_classifier.errors import StorageError
from cnn_classifier.files import ensure_writable_dir, file_lock

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Whether the name says that it can be unpacked; `unpack` itself goes by the content."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def extract_archive(archive: Path, folder: Path) -> Path:
    """Unpack into `folder` unless that was done; the folder appears whole or not at all.

    Files and folders only, without their permissions, owners and dates; what macOS adds (`__MACOSX`, `._name`) is left
    out. One process unpacks, others that want the same folder wait for it.

    Raises:
        DataError: If the archive is damaged, or anything in it is unsafe: see `Unpacking`, `safe_name`,
            `read_zip` and `tar_members`. Nothing of it is left then.
        StorageError: If the folder cannot be written, is not ours, or the disk is too small.
    """
    if (folder / COMPLETION_MARKER).exists():
        return folder
    ensure_writable_dir(folder.parent)
    partial_folder = folder.with_name(f".partial-{folder.name}")
    try:
        with file_lock(folder):
            if (folder / COMPLETION_MARKER).exists():
                return folder
            if folder.exists():
                raise StorageError(f"{folder} is there but was not unpacked by us; move or delete it")
            try:
                shutil.rmtree(partial_folder, ignore_errors=True)  # of a try that was killed
                extract_members(archive, partial_folder)
                partial_folder.replace(folder)
            finally:
                shutil.rmtree(partial_folder, ignore_errors=True)
    except (OSError, UnicodeEncodeError) as error:
        detail = getattr(error, "strerror", None) or error
        raise StorageError(
            f"{folder} cannot be written ({detail}); free space there or choose another folder"
        ) from error
    return folder


def extract_members(archive: Path, folder: Path) -> None:
    """Unpack into a new folder and mark it as complete."""
    with archive_errors(archive):
        file = archive.open("rb")
    with file:
        digest, total_bytes, members = open_archive(archive, file)
        folder.mkdir()
        extractor = SafeExtractor(archive, folder)
        extractor.check_free_space(total_bytes)
        with tqdm(
            desc=f"unpacking {archive.name}", total=total_bytes or None, unit="B", unit_scale=True, disable=None
        ) as bar:
            for member in members:
                bar.update(extractor.extract(member))
    completion = {"archive": archive.name, "sha256": digest, "files": extractor.num_files, "bytes": extractor.num_bytes}
    with (folder / COMPLETION_MARKER).open("w", encoding="utf-8") as marker:
        json.dump(completion, marker, indent=2)
        marker.flush()
        os.fsync(marker.fileno())


def open_archive(archive: Path, file: IO[bytes]) -> tuple[str, int, Iterator[Member]]:
    """The SHA-256 of the archive, the bytes that it declares (0 if it does not say), and its members."""
    with archive_errors(archive):
        magic = file.read(4)
        file.seek(0)
        digest, num_entries, tail = hashlib.sha256(), 0, b""
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            num_entries += (tail + chunk).count(b"PK\1\2")
            tail = chunk[-3:]
        file.seek(0)
    if magic not in ZIP_MAGICS:
        return digest.hexdigest(), 0, iter_tar_members(archive, file)
    # Every entry of the directory starts so. zipfile goes by no other count, and reads them all into memory.
    if num_entries > MAX_MEMBERS:
        raise unsafe_member_error(archive, archive.name, f"has more than {MAX_MEMBERS:,} members")
    return digest.hexdigest(), *read_zip(archive, file)
