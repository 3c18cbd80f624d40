"""Write members of an archive below a new folder: every name, size and count is checked before anything is written."""

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from cnn_classifier.data.sources.archive_members import Member, unsafe_member_error
from cnn_classifier.data.sources.class_names import casefold_path
from cnn_classifier.errors import StorageError

COMPLETION_MARKER = ".done.json"
# Above the largest public sets of images in one archive: ImageNet-1k has 1.4 million files and 150 GB.
MAX_MEMBERS = 2_000_000
MAX_FILE_BYTES = 2**32
MAX_TOTAL_BYTES = 2**40
MAX_NAME_BYTES = 255  # of one part, on every common file system
MAX_PATH_BYTES = 1000
# Free space is measured anew after so many bytes, and twice as many are left free.
SPACE_STEP_BYTES = 2**26
BLOCK_BYTES = 4096  # what a small file takes on the disk
UNSAFE_NAME = re.compile(r"\A/|\A[A-Za-z]:|[\\\0]")
# On Windows these name a device or a stream of another file, or lose their end.
UNSAFE_WINDOWS_PART = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]\Z|\A(con|prn|aux|nul|com\d|lpt\d) *(\.|\Z)', re.I)


class SafeExtractor:
    """Members on their way into a new folder; each is written as it was declared, or refused.

    Refused are names that are unsafe (`safe_name`) or clash, files of more than MAX_FILE_BYTES, more than
    MAX_TOTAL_BYTES in all or MAX_MEMBERS files and folders, and files that are longer or shorter than declared.
    What macOS adds (`__MACOSX`, `._name`) is of no use and left out.
    """

    def __init__(self, archive: Path, root: Path) -> None:
        self.archive, self.root = archive, root
        self.num_members = self.num_files = self.num_bytes = self.unmeasured_bytes = 0
        self.reserved_names = {"": ".", COMPLETION_MARKER: COMPLETION_MARKER}  # by caseless name
        self.created_folders = {""}

    def extract(self, member: Member) -> int:
        """Write one member, and tell how many bytes that were.

        Raises:
            DataError: If it is refused.
            StorageError: If the disk is too small for it.
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
        """Raise StorageError unless the disk has room for so many bytes, and some are left."""
        free = shutil.disk_usage(self.root).free
        if size + 2 * SPACE_STEP_BYTES > free:
            raise StorageError(
                f"{self.archive} needs {size / 1e6:,.0f} MB more in {self.root.parent}, which has {free / 1e6:,.0f} MB "
                "free; free space there or choose another folder"
            )

    def _count_member(self, name: str) -> None:
        self.num_members += 1
        if self.num_members > MAX_MEMBERS:
            raise unsafe_member_error(
                self.archive, name, f"is beyond the {MAX_MEMBERS:,} files and folders that we unpack"
            )

    def _reserve_name(self, name: str) -> None:
        key = casefold_path(name)
        if key in self.reserved_names:
            reason = (
                f"clashes with {self.reserved_names[key][:100]!r}: the same name, or the same but for case or accents"
            )
            raise unsafe_member_error(self.archive, name, reason)
        self.reserved_names[key] = name

    def _make_folder(self, name: str) -> None:
        """Make a folder and those it is in, each once."""
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
            raise unsafe_member_error(self.archive, name, f"is beyond the {MAX_TOTAL_BYTES:,} bytes that we unpack")
        self.unmeasured_bytes += max(size, BLOCK_BYTES)
        if self.unmeasured_bytes > SPACE_STEP_BYTES:
            self.check_free_space(size)
            self.unmeasured_bytes = 0

    def _write(self, name: str, size: int, chunks: Iterator[bytes]) -> None:
        remaining = size
        # Opened new, so never through a link; raw, which takes half the time of `Path.open` for small files.
        with io.FileIO(f"{self.root}/{name}", "x") as file:
            for chunk in chunks:
                remaining -= len(chunk)
                if remaining < 0:
                    break
                while chunk:  # a raw file may take less than it is given
                    chunk = chunk[file.write(chunk) :]
        if remaining:
            raise unsafe_member_error(self.archive, name, f"is not of the {size:,} bytes that it declares")


def normalize_member_name(archive: Path, name: str) -> str:
    """The path below the folder, without `.` parts; the folder itself is "".

    Raises:
        DataError: If it is absolute, has a drive letter, a backslash, a NUL or a `..` part, is too long, or is nothing
            that this system can write.
    """
    if UNSAFE_NAME.search(name):
        raise unsafe_member_error(
            archive, name, "is an absolute path, or has a backslash, a drive letter or a NUL in it"
        )
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise unsafe_member_error(archive, name, "leads out of its folder")
    path = "/".join(parts)
    encoded = os.fsencode(path)
    if len(encoded) > MAX_PATH_BYTES or max(map(len, encoded.split(b"/"))) > MAX_NAME_BYTES:
        raise unsafe_member_error(
            archive, name, f"is longer than {MAX_NAME_BYTES} bytes a name or {MAX_PATH_BYTES:,} bytes a path"
        )
    if os.name == "nt" and any(map(UNSAFE_WINDOWS_PART.search, parts)):
        raise unsafe_member_error(archive, name, "cannot be a file's name on Windows")
    return path
