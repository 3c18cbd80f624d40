"""Safe extraction of image archives, each into a folder that is complete or absent."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cnn_classifier.data import AUTO
from cnn_classifier.data.archives.extractor import COMPLETION_MARKER, MAX_MEMBERS, SafeExtractor
from cnn_classifier.data.archives.members import CHUNK_BYTES, Member, archive_errors, unsafe_member_error
from cnn_classifier.data.archives.name_encoding import NameDecoder
from cnn_classifier.data.archives.tar_members import iter_tar_members
from cnn_classifier.data.archives.zip_members import ZIP_MAGICS, read_zip
from cnn_classifier.errors import StorageError
from cnn_classifier.files import atomic_dir, cache_dir, ensure_writable_dir, file_lock
from cnn_classifier.progress import progress_bar

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive(path: Path) -> bool:
    """Return whether a file name has the suffix of a supported archive; `extract_archive` goes by the content."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def extract_to_cache(archive: Path, encoding: str = AUTO) -> Path:
    """Extract a local archive into the cache and return the folder; a changed archive is extracted again."""
    return extract_archive(archive, dataset_cache_dir(archive.name, *file_fingerprint(archive), encoding), encoding)


def read_notes(folder: Path) -> list[str]:
    """Return the notes about the archives that were extracted into a folder, or into its subfolders."""
    markers = [folder / COMPLETION_MARKER, *sorted(folder.glob(f"*/{COMPLETION_MARKER}"))]
    contents = [json.loads(marker.read_text(encoding="utf-8")) for marker in markers if marker.is_file()]
    return [content["note"] for content in contents if "note" in content]


def dataset_cache_dir(name: str, *key: str) -> Path:
    """Return the cache folder of a data source.

    Args:
        name: A readable name, the first part of the folder's name.
        *key: The parts of the source's identity; a different key gives a different folder.
    """
    slug = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60]
    digest = hashlib.sha256(chr(0).join(key).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "datasets" / f"{slug}-{digest[:12]}"


def file_fingerprint(path: Path) -> list[str]:
    """Return the cache key of a local file: its absolute path, size and modification time."""
    stat_result = path.stat()
    return [str(path.resolve()), str(stat_result.st_size), str(stat_result.st_mtime_ns)]


def extract_archive(archive: Path, folder: Path, encoding: str = AUTO) -> Path:
    """Extract an archive into a folder, unless it has been extracted there before, and return the folder.

    Only files and folders are extracted, without permissions, owners and dates. macOS metadata (`__MACOSX`, `._name`)
    is skipped. If several processes extract into the same folder, one does it and the others wait.

    Args:
        archive: The zip or tar archive. Its content is not trusted.
        folder: The folder to create. It appears only when it is complete.
        encoding: The encoding of names that are not declared to be UTF-8; `auto` detects it, see `NameDecoder`.

    Raises:
        DataError: If the archive is damaged or a member is unsafe (see `SafeExtractor`, `normalize_member_name`,
            `read_zip` and `iter_tar_members`). Nothing is left of it then.
        StorageError: If the folder cannot be written, exists without being an extracted archive, or the disk is full.
    """
    if (folder / COMPLETION_MARKER).exists():
        return folder
    ensure_writable_dir(folder.parent)
    try:
        with file_lock(folder):
            if (folder / COMPLETION_MARKER).exists():  # another process extracted it while this one waited
                return folder
            if folder.exists():
                raise StorageError(f"{folder} exists but is not an extracted archive. Move or delete it.")
            with atomic_dir(folder) as partial:
                extract_members(archive, partial, encoding)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"Cannot write {folder}: {reason}. Free space there or choose another folder.") from error
    return folder


def extract_members(archive: Path, folder: Path, encoding: str) -> None:
    """Extract all members into an empty folder and write the completion marker."""
    with archive_errors(archive):
        file = archive.open("rb")
    with file:
        decoder = NameDecoder(encoding)
        digest, total_bytes, members = open_archive(archive, file, decoder)
        extractor = SafeExtractor(archive, folder)
        extractor.check_free_space(total_bytes)
        with progress_bar(
            description=f"extracting {archive.name}", total=total_bytes or None, unit="B", unit_scale=True, leave=True
        ) as bar:
            for member in members:
                bar.update(extractor.extract(member))
    completion = {"archive": archive.name, "sha256": digest, "files": extractor.num_files, "bytes": extractor.num_bytes}
    if encoding == AUTO and decoder.encoding not in (AUTO, "utf-8"):
        completion["note"] = (
            f"Names in {archive.name} are read as {decoder.encoding}: {', '.join(decoder.examples)}. "
            "Set dataset.zip_encoding if they are wrong."
        )
    with (folder / COMPLETION_MARKER).open("w", encoding="utf-8") as marker:
        json.dump(completion, marker, indent=2)
        marker.flush()
        os.fsync(marker.fileno())


def open_archive(archive: Path, file: IO[bytes], decoder: NameDecoder) -> tuple[str, int, Iterator[Member]]:
    """Open an archive by its content.

    Returns:
        The SHA-256 of the file as hex, the declared total size of its members in bytes (0 if unknown), and its members.
    """
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
        return digest.hexdigest(), 0, iter_tar_members(archive, file, decoder)
    # zipfile ignores the declared number of entries and reads all of them into memory. They are counted by their
    # signature before that.
    if num_entries > MAX_MEMBERS:
        raise unsafe_member_error(archive, archive.name, f"has more than {MAX_MEMBERS:,} members")
    return digest.hexdigest(), *read_zip(archive, file, decoder)
