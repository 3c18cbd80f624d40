"""Writing archive members into a new folder, with every name, size and count checked before a member is written."""

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cnn_classifier.data.archives.members import Member, unsafe_member_error
from cnn_classifier.data.sources.class_names import casefold_path, compose_accents
from cnn_classifier.errors import StorageError

COMPLETION_MARKER = ".done.json"
# Limits above the largest public image dataset in one archive: ImageNet-1k has 1.4 million files and 150 GB.
MAX_MEMBERS = 2_000_000
MAX_FILE_BYTES = 2**32
MAX_TOTAL_BYTES = 2**40
MAX_NAME_BYTES = 255  # the limit for one path component on all common file systems
MAX_PATH_BYTES = 1000
# The free space is measured again after this many bytes, and twice as many are left free.
SPACE_STEP_BYTES = 2**26
BLOCK_BYTES = 4096  # the disk space of a small file
UNSAFE_NAME = re.compile(r"\A/|\A[A-Za-z]:|\0")
# Names that refer to a device or to a stream of another file on Windows, or whose last characters Windows drops.
UNSAFE_WINDOWS_PART = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]\Z|\A(con|prn|aux|nul|com\d|lpt\d) *(\.|\Z)', re.I)


class SafeExtractor:
    """Writes archive members into a new folder, each exactly as it is declared.

    It raises `DataError` for names that are unsafe (see `normalize_member_name`) or clash, for files larger than
    `MAX_FILE_BYTES`, for more than `MAX_TOTAL_BYTES` bytes or `MAX_MEMBERS` files and folders in total, and for files
    that are longer or shorter than declared. macOS metadata (`__MACOSX`, `._name`) is skipped.

    Args:
        archive: The path of the archive, for error messages.
        root: The folder to write into, which must be empty.
    """

    def __init__(self, archive: Path, root: Path) -> None:
        self.archive, self.root = archive, root
        self.num_members = self.num_files = self.num_bytes = self.unmeasured_bytes = 0
        self.reserved_names = {"": ".", COMPLETION_MARKER: COMPLETION_MARKER}  # by case-folded name
        self.created_folders = {""}

    def extract(self, member: Member) -> int:
        """Write one member and return its size in bytes; 0 for a folder or a skipped member.

        Raises:
            DataError: If the member is unsafe.
            StorageError: If the disk has too little free space.
        """
        name = normalize_member_name(self.archive, member.name)
        folder, _, base = name.rpartition("/")
        self._count_member(name)
        if name.startswith("__MACOSX/") or base.startswith("._"):
            return 0
        if member.size is None:
            self._make_folder(name)
            return 0
        self._check_limits(name, member.size)
        self._make_folder(folder)
        self._reserve_name(name)
        self._write(name, member.size, member.chunks)
        self.num_files += 1
        self.num_bytes += member.size
        return member.size

    def check_free_space(self, size: int) -> None:
        """Raise `StorageError` if the disk has no room for `size` bytes plus a reserve."""
        free = shutil.disk_usage(self.root).free
        if size + 2 * SPACE_STEP_BYTES > free:
            raise StorageError(
                f"{self.archive} needs {size / 1e6:,.0f} MB more in {self.root.parent}, which has {free / 1e6:,.0f} MB "
                "free. Free space there or choose another folder."
            )

    def _count_member(self, name: str) -> None:
        self.num_members += 1
        if self.num_members > MAX_MEMBERS:
            raise unsafe_member_error(self.archive, name, f"exceeds the limit of {MAX_MEMBERS:,} files and folders")

    def _reserve_name(self, name: str) -> None:
        key = casefold_path(name)
        if key in self.reserved_names:
            other = self.reserved_names[key][:100]
            reason = f"clashes with {other!r}: the names are equal or differ only in case or accents"
            raise unsafe_member_error(self.archive, name, reason)
        self.reserved_names[key] = name

    def _make_folder(self, name: str) -> None:
        """Create a folder and its parents, unless they were created before."""
        if name in self.created_folders:
            return
        self._make_folder(name.rpartition("/")[0])
        self._count_member(name)
        self._reserve_name(name)
        (self.root / name).mkdir()
        self.created_folders.add(name)

    def _check_limits(self, name: str, size: int) -> None:
        if size > MAX_FILE_BYTES:
            raise unsafe_member_error(self.archive, name, f"is larger than {MAX_FILE_BYTES:,} bytes")
        if self.num_bytes + size > MAX_TOTAL_BYTES:
            raise unsafe_member_error(self.archive, name, f"exceeds the limit of {MAX_TOTAL_BYTES:,} bytes in total")
        self.unmeasured_bytes += max(size, BLOCK_BYTES)
        if self.unmeasured_bytes > SPACE_STEP_BYTES:
            self.check_free_space(size)
            self.unmeasured_bytes = 0

    def _write(self, name: str, size: int, chunks: Iterator[bytes]) -> None:
        remaining = size
        # "x" never writes through a link. Unbuffered I/O takes half the time of `Path.open` for small files.
        with io.FileIO(f"{self.root}/{name}", "x") as file:
            for chunk in chunks:
                remaining -= len(chunk)
                if remaining < 0:
                    break
                while chunk:  # an unbuffered write may be partial
                    chunk = chunk[file.write(chunk) :]
        if remaining:
            raise unsafe_member_error(self.archive, name, f"does not have the {size:,} bytes that it declares")


def normalize_member_name(archive: Path, name: str) -> str:
    """Return the path of a member relative to the extraction folder, without `.` parts; "" for the folder itself.

    Backslashes, which tools for Windows write, separate folders. Accents are composed (NFC), unlike on macOS.

    Raises:
        DataError: If the name is absolute, contains a drive letter, a NUL or a `..` part, is too long, or is not a
            valid file name on this system.
    """
    path = compose_accents(name.replace("\\", "/"))
    if UNSAFE_NAME.search(path):
        raise unsafe_member_error(archive, name, "is an absolute path or contains a drive letter or a NUL")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise unsafe_member_error(archive, name, "points outside the folder")
    path = "/".join(parts)
    encoded = os.fsencode(path)
    if len(encoded) > MAX_PATH_BYTES or max(map(len, encoded.split(b"/"))) > MAX_NAME_BYTES:
        raise unsafe_member_error(
            archive, name, f"is longer than {MAX_NAME_BYTES} bytes per name or {MAX_PATH_BYTES:,} bytes per path"
        )
    if os.name == "nt" and any(map(UNSAFE_WINDOWS_PART.search, parts)):
        raise unsafe_member_error(archive, name, "is not a valid file name on Windows")
    return path
