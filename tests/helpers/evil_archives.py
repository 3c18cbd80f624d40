"""Malicious and damaged archives: `ATTACKS` maps each name to its writer and the expected reason.

They try to write `evil.jpg` or to overwrite `canary.jpg` beside the archive.
"""

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from helpers.made_archives import Maker, member, patch, patched, special, tar_of, truncated, zip_of

UNSAFE = "is an absolute path or contains a drive letter or a NUL"
OUTSIDE = "points outside the folder"
LINK = "is a link or a device"
TAR_LINK = "is a link, a device or a sparse file"
CLASH = "clashes with .*: the names are equal or differ only in case or accents"
DAMAGED = "as a zip or tar archive:"
RATIO = "expands to more than 200 times its size"
WRONG_SIZE = "does not have the .* bytes that it declares"
ZEROS = bytes(4 * 2**20)


def cve_2025_4517() -> Maker:
    """Symlinks that exceed the limit of `realpath`, then a link out of the folder, and a hard link through it."""
    steps, links = "d" * 247, []
    for depth, letter in enumerate("abcdefghijklmnop"):
        folder = "/".join([steps] * depth)
        links.append(special(f"{folder}/{steps}".lstrip("/"), tarfile.DIRTYPE))
        links.append(special(f"{folder}/{letter}".lstrip("/"), tarfile.SYMTYPE, steps))
    chain = "/".join("abcdefghijklmnop")
    links.append(special(f"{chain}/{'l' * 254}", tarfile.SYMTYPE, "../" * 16))
    links.append(special("escape", tarfile.SYMTYPE, f"{chain}/{'l' * 254}/../../canary.jpg"))
    links.append(special("hard", tarfile.LNKTYPE, "escape"))
    return tar_of(*links, member("hard"))


def write_shared_data_zip(path: Path) -> None:
    """An overlapping zip: all members of the directory refer to the same data."""
    zip_of(*(f"{index}.jpg" for index in range(5)), content=b"x" * 50)(path)
    content = bytearray(path.read_bytes())
    offset = content.index(b"PK\1\2")
    for _ in range(5):
        content[offset + 42 : offset + 46] = struct.pack("<I", 0)
        offset = content.find(b"PK\1\2", offset + 1)
    path.write_bytes(content)


def write_quoted_header_zip(path: Path) -> None:
    """An overlapping zip: the data of the first member contains the header of the second."""
    zip_of("0.jpg", "1.jpg")(path)
    patch(path, 20, struct.pack("<II", 30, 30))


def zip_with_longer_member(checked: bytes) -> Maker:
    """A zip that declares 2 of 4 bytes with their checksum; zipfile would truncate the member without an error."""

    def make(path: Path) -> None:
        zip_of("0.jpg", method=zipfile.ZIP_DEFLATED)(path)
        patch(path, 16, struct.pack("<I", zlib.crc32(checked)))
        patch(path, 24, struct.pack("<I", 2))

    return make


def tar_with_negative_size(kind: bytes) -> Maker:
    """A tar with a size of -1,024 bytes, with which tarfile loops forever (CVE-2025-8194)."""
    header = bytearray(special("a.jpg", kind)[0].tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return lambda path: path.write_bytes(bytes(header) + bytes(1024))


def gzip_with_wrong_checksum(content: bytes) -> bytes:
    return gzip.compress(content)[:-8] + bytes(8)


TWO_MEMBERS = tar_of(member("a.jpg", b"a" * 600), member("b.jpg", b"b" * 600))
ATTACKS: dict[str, tuple[Maker, str]] = {
    "zip: zip-slip": (zip_of("../evil.jpg"), OUTSIDE),
    "zip: zip-slip below a folder": (zip_of("a/b/../../../../evil.jpg"), OUTSIDE),
    "zip: absolute": (zip_of("{here}/evil.jpg"), UNSAFE),
    "zip: drive and backslash": (zip_of("C:\\evil.jpg"), UNSAFE),
    "zip: drive and slash": (zip_of("C:/evil.jpg"), UNSAFE),
    "zip: backslashes up": (zip_of("..\\..\\evil.jpg"), OUTSIDE),
    "zip: UNC": (zip_of("\\\\host\\share\\evil.jpg"), UNSAFE),
    "zip: UNC with slashes": (zip_of("//host/share/evil.jpg"), UNSAFE),
    "zip: NUL": (zip_of("a.jpg\0.txt"), UNSAFE),
    "zip: no name": (zip_of("."), CLASH),
    "zip: long name": (zip_of("ü" * 128 + ".jpg"), "is longer than 255 bytes per name"),
    "zip: long path": (zip_of("a/" * 500 + "a.jpg"), "or 1,000 bytes per path"),
    "zip: symlink": (zip_of("a", content=b"../canary.jpg", mode=stat.S_IFLNK | 0o777), LINK),
    "zip: write through a symlink": (zip_of("a", "a/evil.jpg", content=b"..", mode=stat.S_IFLNK | 0o777), LINK),
    "zip: FIFO": (zip_of("a", mode=stat.S_IFIFO | 0o666), LINK),
    "zip: device": (zip_of("a", mode=stat.S_IFBLK | 0o666), LINK),
    "zip: duplicate": (zip_of("a.jpg", "./a.jpg"), CLASH),
    "zip: case": (zip_of("cats/a.jpg", "cats/A.JPG"), CLASH),
    "zip: case of a folder": (zip_of("cats/a.jpg", "Cats/b.jpg"), CLASH),
    "zip: accents": (zip_of("caf\u00e9.jpg", "cafe\u0301.jpg"), CLASH),
    "zip: a file as a folder": (zip_of("a", "a/evil.jpg"), CLASH),
    "zip: a folder as a file": (zip_of("a/b.jpg", "a"), CLASH),
    "zip: completion marker": (zip_of(".done.json"), CLASH),
    "zip: completion marker in capitals": (zip_of(".DONE.json"), CLASH),
    "zip: encrypted": (patched(zip_of("a.jpg"), 8, b"\1\0"), "is encrypted"),
    "zip: bzip2 bomb": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_BZIP2), "uses compression method 12"),
    "zip: lzma bomb": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_LZMA), "uses compression method 14"),
    "zip: high ratio": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_DEFLATED), RATIO),
    "zip: overlap, shared data": (write_shared_data_zip, "overlaps another member"),
    "zip: overlap, quoted header": (write_quoted_header_zip, "overlaps another member"),
    "zip: declares too little": (zip_with_longer_member(b"ev"), f"{DAMAGED} .*Bad CRC-32"),
    "zip: declares too little by one byte": (zip_with_longer_member(b"evi"), WRONG_SIZE),
    "zip: declares too much": (patched(zip_of("a.jpg"), 24, b"\5"), WRONG_SIZE),
    "zip: checksum": (patched(zip_of("a.jpg"), 16, b"evil"), f"{DAMAGED} .*Bad CRC-32"),
    "zip: other name in the header": (patched(zip_of("a.jpg"), 30, b"b", after=b"PK\3\4"), DAMAGED),
    "zip: truncated": (truncated(zip_of("a.jpg", content=bytes(5000)), 0.9), f"{DAMAGED} .*not a zip"),
    "tar: slip": (tar_of(member("../evil.jpg")), OUTSIDE),
    "tar: absolute": (tar_of(member("{here}/evil.jpg")), UNSAFE),
    "tar: backslash": (tar_of(member("C:\\evil.jpg")), UNSAFE),
    "tar: NUL": (tar_of(member("a.jpg", pax_headers={"path": "a.jpg\0.txt"})), UNSAFE),
    "tar: symlink": (tar_of(special("a", tarfile.SYMTYPE, "{here}/canary.jpg"), member("a")), TAR_LINK),
    "tar: write through": (tar_of(special("a", tarfile.SYMTYPE, "{here}"), member("a/evil.jpg")), TAR_LINK),
    "tar: hard link": (tar_of(special("a", tarfile.LNKTYPE, "{here}/canary.jpg"), member("a")), TAR_LINK),
    "tar: FIFO": (tar_of(special("a", tarfile.FIFOTYPE)), TAR_LINK),
    "tar: character device": (tar_of(special("a", tarfile.CHRTYPE)), TAR_LINK),
    "tar: block device": (tar_of(special("a", tarfile.BLKTYPE)), TAR_LINK),
    "tar: sparse": (tar_of(member("a.jpg", pax_headers={"GNU.sparse.map": "0,4", "GNU.sparse.size": "9"})), TAR_LINK),
    "tar: unknown type": (tar_of(member("a.jpg", type=b"V")), TAR_LINK),
    "tar: CVE-2025-4517": (cve_2025_4517(), TAR_LINK),
    "tar: CVE-2025-8194, negative size": (tar_with_negative_size(tarfile.REGTYPE), f"{DAMAGED} .*negative size"),
    "tar: duplicate": (tar_of(member("a.jpg"), member("a.jpg")), CLASH),
    "tar: case": (tar_of(member("a.jpg"), member("A.jpg")), CLASH),
    "tar: huge header": (
        tar_of(member("a.jpg", pax_headers={"comment": "x" * 10**5})),
        "a header declares .* more than",
    ),
    "tar: endless long names": (tar_of(*[member("a", type=b"L")] * 1000), "a header declares .* more than"),
    "tar: header negative size": (tar_with_negative_size(tarfile.XHDTYPE), "a header declares a negative size"),
    "tar: truncated in a file": (truncated(TWO_MEMBERS, 0.1), f"{WRONG_SIZE}|{DAMAGED}"),
    "tar: truncated after a file": (truncated(TWO_MEMBERS, 0.15), f"{DAMAGED} .*unexpected end"),
    "tar: broken header": (patched(TWO_MEMBERS, 3, b"X", after=b"b.jpg"), f"{DAMAGED} .*unexpected end"),
    "tar.gz: high ratio": (tar_of(member("a.jpg", ZEROS), pack=gzip.compress), RATIO),
    "tar.bz2: high ratio": (tar_of(member("a.jpg", ZEROS), pack=bz2.compress), RATIO),
    "tar.xz: high ratio": (tar_of(member("a.jpg", ZEROS), pack=lzma.compress), RATIO),
    "tar.gz: truncated": (truncated(tar_of(member("a.jpg"), pack=gzip.compress), 0.9), DAMAGED),
    "tar.gz: checksum": (tar_of(member("a.jpg"), pack=gzip_with_wrong_checksum), f"{DAMAGED} .*CRC"),
    "no archive": (lambda path: path.write_text("<html>404</html>", encoding="utf-8"), DAMAGED),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "missing": (lambda path: None, f"{DAMAGED} .*No such file"),
}
