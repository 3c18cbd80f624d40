"""Archives that attack whoever unpacks them: `ATTACKS` maps each to its maker and the reason that we give.

What they try to reach is `evil.jpg` or `canary.jpg` beside the archive.
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

from helpers.made_archives import Maker, cut, member, patch, patched, special, tar_of, zip_of

UNSAFE = "is an absolute path or contains a backslash, a drive letter or a NUL"
OUT = "points outside the folder"
LINK = "is a link or a device"
TAR_LINK = "is a link, a device or a sparse file"
CLASH = "clashes with .*: the names are equal or differ only in case or accents"
DAMAGED = "as a zip or tar archive:"
TOO_DENSE = "expands to more than 200 times its size"
DECLARED = "does not have the .* bytes that it declares"
ZEROS = bytes(4 * 2**20)


def cve_2025_4517() -> Maker:
    """Links so deep that `realpath` gives up, then one up and out, and a hard link through it to the canary."""
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


def shared_kernel(path: Path) -> None:
    """An overlap zip: every member of the directory is the same data."""
    zip_of(*(f"{index}.jpg" for index in range(5)), content=b"x" * 50)(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2")
    for _ in range(5):
        content[at + 42 : at + 46] = struct.pack("<I", 0)
        at = content.find(b"PK\1\2", at + 1)
    path.write_bytes(content)


def quoting(path: Path) -> None:
    """An overlap zip: the first member holds the header of the second one as its own data."""
    zip_of("0.jpg", "1.jpg")(path)
    patch(path, 20, struct.pack("<II", 30, 30))


def longer(checked: bytes) -> Maker:
    """The directory declares 2 of 4 bytes, and the checksum of these: zipfile would cut the rest off in silence."""

    def make(path: Path) -> None:
        zip_of("0.jpg", method=zipfile.ZIP_DEFLATED)(path)
        patch(path, 16, struct.pack("<I", zlib.crc32(checked)))
        patch(path, 24, struct.pack("<I", 2))

    return make


def below_zero(kind: bytes) -> Maker:
    """A size of -1,024 sends tarfile back to where it was, for ever (CVE-2025-8194)."""
    header = bytearray(special("a.jpg", kind)[0].tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return lambda path: path.write_bytes(bytes(header) + bytes(1024))


def with_another_checksum(content: bytes) -> bytes:
    return gzip.compress(content)[:-8] + bytes(8)


TWO = tar_of(member("a.jpg", b"a" * 600), member("b.jpg", b"b" * 600))
ATTACKS: dict[str, tuple[Maker, str]] = {
    "zip: zip-slip": (zip_of("../evil.jpg"), OUT),
    "zip: zip-slip below a folder": (zip_of("a/b/../../../../evil.jpg"), OUT),
    "zip: absolute": (zip_of("{here}/evil.jpg"), UNSAFE),
    "zip: drive and backslash": (zip_of("C:\\evil.jpg"), UNSAFE),
    "zip: drive and slash": (zip_of("C:/evil.jpg"), UNSAFE),
    "zip: backslashes up": (zip_of("..\\..\\evil.jpg"), UNSAFE),
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
    "zip: our marker": (zip_of(".done.json"), CLASH),
    "zip: our marker in capitals": (zip_of(".DONE.json"), CLASH),
    "zip: encrypted": (patched(zip_of("a.jpg"), 8, b"\1\0"), "is encrypted"),
    "zip: bzip2 bomb": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_BZIP2), "uses compression method 12"),
    "zip: lzma bomb": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_LZMA), "uses compression method 14"),
    "zip: high ratio": (zip_of("a.jpg", content=ZEROS, method=zipfile.ZIP_DEFLATED), TOO_DENSE),
    "zip: overlap, one kernel": (shared_kernel, "overlaps another member"),
    "zip: overlap, quoted header": (quoting, "overlaps another member"),
    "zip: declares too little": (longer(b"ev"), f"{DAMAGED} .*Bad CRC-32"),
    "zip: declares too little, and knows us": (longer(b"evi"), DECLARED),
    "zip: declares too much": (patched(zip_of("a.jpg"), 24, b"\5"), DECLARED),
    "zip: checksum": (patched(zip_of("a.jpg"), 16, b"evil"), f"{DAMAGED} .*Bad CRC-32"),
    "zip: other name in the header": (patched(zip_of("a.jpg"), 30, b"b", after=b"PK\3\4"), DAMAGED),
    "zip: cut off": (cut(zip_of("a.jpg", content=bytes(5000)), 0.9), f"{DAMAGED} .*not a zip"),
    "tar: slip": (tar_of(member("../evil.jpg")), OUT),
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
    "tar: CVE-2025-8194, size below zero": (below_zero(tarfile.REGTYPE), f"{DAMAGED} .*negative size"),
    "tar: duplicate": (tar_of(member("a.jpg"), member("a.jpg")), CLASH),
    "tar: case": (tar_of(member("a.jpg"), member("A.jpg")), CLASH),
    "tar: huge header": (
        tar_of(member("a.jpg", pax_headers={"comment": "x" * 10**5})),
        "a header declares .* more than",
    ),
    "tar: endless long names": (tar_of(*[member("a", type=b"L")] * 1000), "a header declares .* more than"),
    "tar: header size below zero": (below_zero(tarfile.XHDTYPE), "a header declares a negative size"),
    "tar: cut off in a file": (cut(TWO, 0.1), f"{DECLARED}|{DAMAGED}"),
    "tar: cut off after a file": (cut(TWO, 0.15), f"{DAMAGED} .*unexpected end"),
    "tar: broken header": (patched(TWO, 3, b"X", after=b"b.jpg"), f"{DAMAGED} .*unexpected end"),
    "tar.gz: high ratio": (tar_of(member("a.jpg", ZEROS), pack=gzip.compress), TOO_DENSE),
    "tar.bz2: high ratio": (tar_of(member("a.jpg", ZEROS), pack=bz2.compress), TOO_DENSE),
    "tar.xz: high ratio": (tar_of(member("a.jpg", ZEROS), pack=lzma.compress), TOO_DENSE),
    "tar.gz: cut off": (cut(tar_of(member("a.jpg"), pack=gzip.compress), 0.9), DAMAGED),
    "tar.gz: checksum": (tar_of(member("a.jpg"), pack=with_another_checksum), f"{DAMAGED} .*CRC"),
    "no archive": (lambda path: path.write_text("<html>404</html>", encoding="utf-8"), DAMAGED),
    "empty": (lambda path: path.write_bytes(b""), DAMAGED),
    "missing": (lambda path: None, f"{DAMAGED} .*No such file"),
}
