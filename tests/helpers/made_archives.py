"""Archives that are written member by member, valid or invalid, by a `Maker` that takes the path.

`{here}` in a member name is replaced by the folder of the archive.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

Maker = Callable[[Path], object]


def zip_of(*names: str, content: bytes = b"evil", method: int = zipfile.ZIP_STORED, mode: int = 0) -> Maker:
    """Return a maker of a zip with these members; `mode` is the file mode of the first."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for index, name in enumerate(names):
                info = zipfile.ZipInfo("x")
                # Set after the constructor of ZipInfo, which truncates the name at a NUL.
                info.filename = name.replace("{here}", path.parent.as_posix())
                info.compress_type = method
                info.external_attr = 0 if index else mode << 16
                archive.writestr(info, content)

    return make


def patch(path: Path, offset: int, value: bytes, *, after: bytes = b"PK\1\2") -> None:
    """Replace bytes at an offset from a signature, by default that of the first directory entry of a zip."""
    content = bytearray(path.read_bytes())
    start = content.index(after) + offset
    content[start : start + len(value)] = value
    path.write_bytes(content)


def patched(make: Maker, offset: int, value: bytes, *, after: bytes = b"PK\1\2") -> Maker:
    """Return a maker of an archive with replaced bytes, see `patch`."""

    def make_patched(path: Path) -> None:
        make(path)
        patch(path, offset, value, after=after)

    return make_patched


def truncated(make: Maker, keep: float) -> Maker:
    """Return a maker of a truncated archive; `keep` is the fraction that is kept."""

    def make_truncated(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return make_truncated


def member(name: str, content: bytes = b"evil", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Return a regular file for `tar_of`."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    """Return a link, folder or device for `tar_of`."""
    return member(name, b"", type=kind, linkname=target)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], pack: Callable[[bytes], bytes] = bytes) -> Maker:
    """Return a maker of a tar with these members, compressed by `pack`."""

    def make(path: Path) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info, content in members:
                name, link = (text.replace("{here}", path.parent.as_posix()) for text in (info.name, info.linkname))
                archive.addfile(info.replace(name=name, linkname=link), io.BytesIO(content))
        path.write_bytes(pack(target.getvalue()))

    return make
