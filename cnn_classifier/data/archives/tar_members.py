"""Reading tar archives member by member, with limits on everything that a tar declares."""

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from cnn_classifier.data.archives.members import (
    CHUNK_BYTES,
    MAX_RATIO,
    MAX_RATIO_FREE_BYTES,
    Member,
    archive_errors,
    unsafe_member_error,
)
from cnn_classifier.data.archives.name_encoding import NameDecoder, ReadNames, is_utf8

# Names, dates and attributes of one tar member take one or two kilobytes in practice.
MAX_TAR_HEADER_BYTES = 2**16
DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


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


def iter_tar_members(archive: Path, file: IO[bytes], decoder: NameDecoder) -> Iterator[Member]:
    """Yield the members in order.

    Raises:
        DataError: If a member is neither a file nor a folder, or the archive is damaged or exceeds `MAX_RATIO`.
    """
    with archive_errors(archive):
        stream = TarStream(archive, file)
        tar_file = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8")
        for info in iter(tar_file.next, None):
            name = tar_member_name(info, decoder, lambda: iter_tar_names(archive))
            if info.size < 0:
                raise tarfile.ReadError("a member has a negative size")
            if info.issparse() or not (info.isreg() or info.isdir()):
                raise unsafe_member_error(archive, name, "is a link, a device or a sparse file")
            yield Member(name, info.size if info.isreg() else None, read_tar_chunks(archive, stream, info.size))
            stream.header_bytes = 0
            tar_file.members = []  # type: ignore[attr-defined]  # otherwise tarfile keeps every member and global header
            tar_file.pax_headers = {}
        if stream.last_block != bytes(tarfile.BLOCKSIZE):  # tarfile treats any broken header as the end
            raise tarfile.ReadError("unexpected end")
        while stream.read_raw(CHUNK_BYTES):  # the checksum follows the last member
            pass


def tar_member_name(info: tarfile.TarInfo, decoder: NameDecoder, read_all_names: ReadNames) -> str:
    """Return the name of a member: as declared by a pax header, or decoded."""
    raw = encoded_tar_name(info)
    return decoder.decode(raw, read_all_names) if raw else info.name


def encoded_tar_name(info: tarfile.TarInfo) -> bytes:
    """Return the bytes of a name; empty if a pax header declares them to be UTF-8."""
    raw = info.name.encode("utf-8", "surrogateescape")
    return b"" if "path" in info.pax_headers and is_utf8(raw) else raw


def iter_tar_names(archive: Path) -> Iterator[bytes]:
    """Yield the bytes of all names, which requires decompression of the whole archive."""
    with archive.open("rb") as file:
        stream = TarStream(archive, file)
        tar_file = tarfile.TarFile(fileobj=cast(IO[bytes], stream), encoding="utf-8")
        for info in iter(tar_file.next, None):
            yield encoded_tar_name(info)
            stream.header_bytes = 0
            tar_file.members = []  # type: ignore[attr-defined]
            tar_file.pax_headers = {}


def read_tar_chunks(archive: Path, stream: TarStream, size: int) -> Iterator[bytes]:
    """Yield the content of the tar member at the position of the stream."""
    with archive_errors(archive):
        while size > 0 and (chunk := stream.read_raw(size)):
            size -= len(chunk)
            yield chunk
