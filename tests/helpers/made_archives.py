"""Archives made by hand, right or wrong, member by member; a maker writes one at the path that it is given.

`{here}` in a name stands for the folder of the archive.
"""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

Maker = Callable[[Path], object]


def zip_of(*names: str, content: bytes = b"evil", method: int = zipfile.ZIP_STORED, mode: int = 0) -> Maker:
    """A zip of these members; the first may be a link or a device."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for index, name in enumerate(names):
                info = zipfile.ZipInfo("x")
                info.filename = name.replace("{here}", path.parent.as_posix())  # ZipInfo would cut it at a NUL
                info.compress_type = method
                info.external_attr = 0 if index else mode << 16
                archive.writestr(info, content)

    return make


def patch(path: Path, offset: int, value: bytes, *, after: bytes = b"PK\1\2") -> None:
    """Change bytes at this offset from the first such signature, by default that of the directory of a zip."""
    content = bytearray(path.read_bytes())
    at = content.index(after) + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)


def patched(make: Maker, offset: int, value: bytes, *, after: bytes = b"PK\1\2") -> Maker:
    def make_patched(path: Path) -> None:
        make(path)
        patch(path, offset, value, after=after)

    return make_patched


def cut(make: Maker, keep: float) -> Maker:
    """The first part of the archive."""

    def make_cut(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return make_cut


def member(name: str, content: bytes = b"evil", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=target)


def tar_of(*members: tuple[tarfile.TarInfo, bytes], pack: Callable[[bytes], bytes] = bytes) -> Maker:
    """A tar of these members, compressed by `pack`."""

    def make(path: Path) -> None:
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info, content in members:
                name, link = (text.replace("{here}", path.parent.as_posix()) for text in (info.name, info.linkname))
                archive.addfile(info.replace(name=name, linkname=link), io.BytesIO(content))
        path.write_bytes(pack(target.getvalue()))

    return make
