"""Reading zip archives member by member, with limits on everything that a zip declares."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cnn_classifier.data.archives.members import (
    CHUNK_BYTES,
    MAX_RATIO,
    MAX_RATIO_FREE_BYTES,
    Member,
    archive_errors,
    unsafe_member_error,
)
from cnn_classifier.data.archives.name_encoding import NameDecoder, ReadNames, is_utf8

ZIP_MAGICS = (b"PK\3\4", b"PK\5\6")
ZIP_HEADER_BYTES = 30
ZIP_UTF8 = 0x800
ZIP_UNICODE_NAME = 0x7075
ZIP_ENCRYPTED = 0x01 | 0x40


def read_zip(archive: Path, file: IO[bytes], decoder: NameDecoder) -> tuple[int, Iterator[Member]]:
    """Open a zip archive.

    Returns:
        The sum of the declared sizes in bytes, and the members in the order of their data.

    Raises:
        DataError: If the archive is damaged, or later, if a member is unsafe (see `check_zip_member`) or damaged.
    """
    with archive_errors(archive):
        zip_file = zipfile.ZipFile(file)
    infos = sorted(zip_file.infolist(), key=lambda info: info.header_offset)
    return sum(info.file_size for info in infos), iter_zip_members(archive, zip_file, infos, decoder)


def iter_zip_members(
    archive: Path, zip_file: zipfile.ZipFile, infos: list[zipfile.ZipInfo], decoder: NameDecoder
) -> Iterator[Member]:
    """Yield the members of a zip archive in the order of their data."""
    ends = [*(info.header_offset for info in infos[1:]), zip_file.start_dir]
    for info, end in zip(infos, ends, strict=False):
        name = zip_member_name(info, decoder, lambda: map(encoded_zip_name, infos))
        if problem := check_zip_member(info, end):
            raise unsafe_member_error(archive, name, problem)
        size = None if name.endswith(("/", "\\")) else info.file_size
        yield Member(name, size, read_zip_chunks(archive, zip_file, info))


def encoded_zip_name(info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a name; empty if they are declared to be UTF-8."""
    return b"" if info.flag_bits & ZIP_UTF8 else info.orig_filename.encode("cp437")  # as which zipfile decodes them


def zip_member_name(info: zipfile.ZipInfo, decoder: NameDecoder, read_all_names: ReadNames) -> str:
    """Return the name of a member: as declared, from the field for UTF-8 of Info-ZIP (0x7075), or decoded."""
    raw = encoded_zip_name(info)
    if not raw:  # not `filename`, which is cut at a NUL and differs between Windows and Python versions
        return info.orig_filename
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        # The version of the field and the checksum of the name that it belongs to.
        if kind == ZIP_UNICODE_NAME and field[:5] == struct.pack("<BI", 1, zlib.crc32(raw)) and is_utf8(field[5:]):
            return field[5:].decode()
    return decoder.decode(raw, read_all_names)


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
