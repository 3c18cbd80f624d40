"""Reading zip and tar archives member by member, with limits on everything that an archive declares.

`extractall` and tarfile's `filter="data"` are not used: links bypassed the filter (CVE-2025-4517, -4330, -4138).
"""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from cnn_classifier.errors import DataError

CHUNK_BYTES = 2**20
# Photos hardly shrink, deflate reaches 1,032. Small archives are exempt, since a blank page can shrink that much.
MAX_RATIO = 200
MAX_RATIO_FREE_BYTES = 2**20
# Names, dates and attributes of one tar member take one or two kilobytes in practice.
MAX_TAR_HEADER_BYTES = 2**16
ZIP_MAGICS = (b"PK\3\4", b"PK\5\6")
ZIP_HEADER_BYTES = 30
ZIP_ENCRYPTED = 0x01 | 0x40
DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
# The exceptions that the readers raise for broken archives, found by fuzzing.
READER_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError,
    LookupError, ArithmeticError, RuntimeError, MemoryError,
)  # fmt: skip


class Member(NamedTuple):
    """One file or folder of an archive.

    Args:
        name: The name as it is stored in the archive.
        size: The declared size of a file in bytes; None for a folder.
        chunks: The content of the file, to be read before the next member is requested.
    """

    name: str
    size: int | None
    chunks: Iterator[bytes]


def unsafe_member_error(archive: Path, name: str, reason: str) -> DataError:
    """Return the error for an archive that is refused because of one member."""
    return DataError(
        f"Cannot extract {archive}: {name[:100]!r} {reason}. Nothing was extracted. "
        "If you trust the archive, extract it yourself and pass the folder."
    )


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Convert errors of the archive readers to `DataError`; errors of a generator's consumer are not converted."""
    try:
        yield
    except READER_ERRORS as error:
        detail = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot read {archive} as a zip or tar archive: {detail}. Download it again.") from error


def read_zip(archive: Path, file: IO[bytes]) -> tuple[int, Iterator[Member]]:
    """Open a zip archive.

    Returns:
        The sum of the declared sizes in bytes, and the members in the order of their data.

    Raises:
        DataError: If the archive is damaged, or later, if a member is unsafe (see `check_zip_member`) or damaged.
    """
    with archive_errors(archive):
        zip_file = zipfile.ZipFile(file)
    infos = sorted(zip_file.infolist(), key=lambda info: info.header_offset)
    return sum(info.file_size for info in infos), iter_zip_members(archive, zip_file, infos)


def iter_zip_members(archive: Path, zip_file: zipfile.ZipFile, infos: list[zipfile.ZipInfo]) -> Iterator[Member]:
    """Yield the members of a zip archive in the order of their data."""
    ends = [*(info.header_offset for info in infos[1:]), zip_file.start_dir]
    for info, end in zip(infos, ends, strict=False):
        # Not `filename`, which is cut at a NUL and differs between Windows and Python versions.
        name = info.orig_filename
        if problem := check_zip_member(info, end):
            raise unsafe_member_error(archive, name, problem)
        size = None if name.endswith("/") else info.file_size
        yield Member(name, size, read_zip_chunks(archive, zip_file, info))


def check_zip_member(info: zipfile.ZipInfo, end: int) -> str | None:
    """Return the reason to refuse a member, or None; `end` is the file offset of the next member."""
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if info.flag_bits & ZIP_ENCRYPTED:
        return "is encrypted"
    # zipfile does not bound the output of the other methods.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"uses compression method {info.compress_type}, expected deflate or none"
    if info.header_offset + ZIP_HEADER_BYTES + info.compress_size > end:
        return "overlaps another member"
    if info.file_size > max(MAX_RATIO_FREE_BYTES, MAX_RATIO * info.compress_size):
        return f"expands to more than {MAX_RATIO} times its size"
    return None


def read_zip_chunks(archive: Path, zip_file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the decompressed content of a zip member."""
    info.file_size += 1  # zipfile truncates a member at its declared size; one more byte shows that it is longer
    with archive_errors(archive), zip_file.open(info) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


class TarStream:
    """A forward-only file object of the decompressed tar, from which tarfile reads the headers."""

    def __init__(self, archive: Path, file: IO[bytes]) -> None:
        header = file.read(6)
        self.archive, self.stream = archive, file
        self.max_bytes = max(MAX_RATIO_FREE_BYTES, MAX_RATIO * file.seek(0, 2))
        file.seek(0)
        for magic, decompress in DECOMPRESSORS.items():
            if header.startswith(magic):
                self.stream = decompress(file)
        self.position = self.header_bytes = 0
        self.last_block = b""

    def tell(self) -> int:
        """Return the position in the decompressed tar in bytes."""
        return self.position

    def seek(self, position: int) -> None:
        """Skip forward; a negative member size would seek back and loop forever (CVE-2025-8194)."""
        if position < self.position:
            raise tarfile.ReadError("a member starts before the end of the previous one")
        while self.position < position and self.read_raw(position - self.position):
            pass

    def read(self, size: int) -> bytes:
        """Read for tarfile, which reads headers of any size that they declare."""
        self.header_bytes += size
        if size < 0 or self.header_bytes > MAX_TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a header declares a negative size or more than {MAX_TAR_HEADER_BYTES:,} bytes")
        self.last_block = self.read_raw(size)
        return self.last_block

    def read_raw(self, size: int) -> bytes:
        """Read at most `size` bytes and at most one chunk; b"" at the end."""
        chunk = self.stream.read(min(size, CHUNK_BYTES))
        self.position += len(chunk)
        if self.position > self.max_bytes:
            raise unsafe_member_error(
                self.archive, self.archive.name, f"expands to more than {MAX_RATIO} times its size"
            )
        return chunk


def iter_tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    """Yield the members in order.

    Raises:
        DataError: If a member is neither a file nor a folder, or the archive is damaged or exceeds `MAX_RATIO`.
    """
    with archive_errors(archive):
        stream = TarStream(archive, file)
        tar_file = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8")
        for info in iter(tar_file.next, None):
            if info.size < 0:
                raise tarfile.ReadError("a member has a negative size")
            if info.issparse() or not (info.isreg() or info.isdir()):
                raise unsafe_member_error(archive, info.name, "is a link, a device or a sparse file")
            yield Member(info.name, info.size if info.isreg() else None, read_tar_chunks(archive, stream, info.size))
            stream.header_bytes = 0
            tar_file.members = []  # type: ignore[attr-defined]  # otherwise tarfile keeps every member and global header
            tar_file.pax_headers = {}
        if stream.last_block != bytes(tarfile.BLOCKSIZE):  # tarfile treats any broken header as the end
            raise tarfile.ReadError("unexpected end")
        while stream.read_raw(CHUNK_BYTES):  # the checksum follows the last member
            pass


def read_tar_chunks(archive: Path, stream: TarStream, size: int) -> Iterator[bytes]:
    """Yield the content of the tar member at the position of the stream."""
    with archive_errors(archive):
        while size > 0 and (chunk := stream.read_raw(size)):
            size -= len(chunk)
            yield chunk
