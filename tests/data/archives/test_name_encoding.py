"""Tests of the names in archives from other systems: encodings, backslashes and composed accents."""

import gzip
import io
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from PIL import Image

from cnn_classifier.data.archives.archive import extract_archive, extract_to_cache
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.class_names import rename_classes
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.resolve import scan_for_evaluation, scan_source
from cnn_classifier.errors import ConfigError, DataError

NAMES = {
    "gbk": ["训练/猫/1.jpg", "训练/狗/1.jpg"],
    "gb18030": ["苹果/1.jpg", "香蕉/1.jpg"],
    "cp932": ["写真/表示/1.jpg", "写真/ソース/十.jpg"],  # second bytes that are a backslash
    "shift_jis": ["犬/1.jpg", "ネコ/1.jpg"],
    "big5": ["蘋果/1.jpg", "功課/許.jpg"],  # likewise
    "euc_kr": ["고양이/1.jpg", "강아지/1.jpg"],
    "cp866": ["Кошки/фото 1.jpg", "Собаки/фото 1.jpg"],
    "cp1251": ["кошки/1.jpg", "собаки/1.jpg"],
    "cp437": ["café/1.jpg", "Züge/1.jpg"],
    "cp850": ["maçã/1.jpg", "pão/1.jpg"],
    "cp1252": ["forêt/1.jpg", "Straße/1.jpg"],
    "latin-1": ["Größe/1.jpg", "Mädchen/1.jpg"],
    "cp1250": ["łódka/1.jpg", "żaba/1.jpg"],
    "utf-8": ["猫/1.jpg", "кошки/1.jpg", "café/1.jpg"],
}


def write_zip(path: Path, names: Iterable[bytes], *, extra: Callable[[bytes], bytes] = lambda name: b"") -> None:
    """Write a zip with these bytes as names, without the flag for UTF-8."""
    names = list(names)
    placeholders = [f"{index:0{len(name)}d}" for index, name in enumerate(names)]
    with zipfile.ZipFile(path, "w") as archive:
        for placeholder, name in zip(placeholders, names, strict=True):
            info = zipfile.ZipInfo(placeholder)
            info.extra = extra(name)
            archive.writestr(info, name)
    content = path.read_bytes()
    for placeholder, name in zip(placeholders, names, strict=True):
        for signature, offset in ((b"PK\3\4", 30), (b"PK\1\2", 46)):
            start = content.index(signature)
            while content[start + offset : start + offset + len(name)] != placeholder.encode():
                start = content.index(signature, start + 4)
            content = content[: start + offset] + name + content[start + offset + len(name) :]
    path.write_bytes(content)


def write_tar(path: Path, names: Iterable[str], encoding: str, format: int) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format, encoding=encoding) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"data"))
    path.write_bytes(gzip.compress(target.getvalue()))


def names_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*g")}


@pytest.mark.parametrize("encoding", NAMES)
def test_encoding_of_zip_names_is_detected(encoding: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "old.zip", [name.encode(encoding) for name in NAMES[encoding]])
    assert names_of(extract_archive(tmp_path / "old.zip", tmp_path / "images")) == set(NAMES[encoding])


@pytest.mark.parametrize("encoding", ["gbk", "cp932", "cp866", "utf-8"])
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_encoding_of_tar_names_is_detected(encoding: str, format: int, tmp_path: Path) -> None:
    names = [*NAMES[encoding], "ascii/1.jpg"]
    write_tar(tmp_path / "old.tar.gz", names, encoding, format)
    assert names_of(extract_archive(tmp_path / "old.tar.gz", tmp_path / "images")) == set(names)


def test_unicode_field_of_info_zip_replaces_the_name(tmp_path: Path) -> None:
    def extra(name: bytes) -> bytes:
        field = struct.pack("<BI", 1, zlib.crc32(name)) + "猫/1.jpg".encode()
        return struct.pack("<HHH", 0x5455, 2, 0) + struct.pack("<HH", 0x7075, len(field)) + field

    write_zip(tmp_path / "linux.zip", [b"?/1.jpg"], extra=extra)
    assert names_of(extract_archive(tmp_path / "linux.zip", tmp_path / "images")) == {"猫/1.jpg"}
    write_zip(tmp_path / "attack.zip", [b"a.jpg"], extra=lambda name: extra(name).replace("猫/1".encode(), b"../ev"))
    with pytest.raises(DataError, match="points outside the folder"):
        extract_archive(tmp_path / "attack.zip", tmp_path / "others")


@pytest.mark.parametrize(
    ("name", "encoding", "reason"),
    [
        ("..\\..\\evil.jpg", "ascii", "points outside the folder"),
        ("cats\\..\\..\\evil.jpg", "ascii", "points outside the folder"),
        ("表\\..\\..\\evil.jpg", "cp932", "points outside the folder"),
        ("\\evil.jpg", "ascii", "is an absolute path"),
        ("\\\\host\\share\\写真.jpg", "cp932", "is an absolute path"),
        ("c:\\猫\\evil.jpg", "gbk", "contains a drive letter"),
    ],
)
def test_name_that_is_unsafe_after_decoding_is_refused(name: str, encoding: str, reason: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "bad.zip", [name.encode(encoding)])
    with pytest.raises(DataError, match=reason):
        extract_archive(tmp_path / "bad.zip", tmp_path / "images")
    assert not (tmp_path / "images").exists()


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    names = ["photos\\", "photos\\cats\\", "photos\\cats\\1.jpg", "photos/dogs\\1.jpg", "__MACOSX\\cats\\._1.jpg"]
    write_zip(tmp_path / "windows.zip", map(str.encode, names))
    folder = extract_archive(tmp_path / "windows.zip", tmp_path / "images")
    assert names_of(folder) == {"photos/cats/1.jpg", "photos/dogs/1.jpg"}
    write_zip(tmp_path / "clash.zip", [b"cats\\1.jpg", b"cats/1.jpg"])
    with pytest.raises(DataError, match="clashes with"):
        extract_archive(tmp_path / "clash.zip", tmp_path / "others")


def test_detected_encoding_is_noted_and_can_be_set(tmp_path: Path) -> None:
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "PNG")
    write_zip(tmp_path / "old.zip", [f"{name}/1.png".encode("cp1250") for name in ("kočky", "psi")])

    guessed = scan_source(DatasetConfig(source=str(tmp_path / "old.zip")))
    assert guessed.class_names == ["koèky", "psi"]
    note = "Names in old.zip are read as cp1252: koèky. Set dataset.zip_encoding if they are wrong."
    assert guessed.notes == [note]
    assert scan_source(DatasetConfig(root=str(tmp_path / "old.zip"))).notes == [note]  # also from the cache
    assert list(scan_for_evaluation(tmp_path / "old.zip").notes) == [note]

    configured = scan_source(DatasetConfig(source=str(tmp_path / "old.zip"), zip_encoding="cp1250"))
    assert (configured.class_names, list(configured.notes)) == (["kočky", "psi"], [])
    with pytest.raises(
        DataError, match=r"^dataset\.zip_encoding=utf-8 cannot decode the name b'ko\\xe8ky/1\.png'\. Set"
    ):
        extract_to_cache(tmp_path / "old.zip", "utf-8")


@pytest.mark.parametrize("encoding", ["gbkk", "hex", "utf-16", "rot13", "cp037", "unicode_escape", "", "\0"])
def test_invalid_encoding_raises_config_error(encoding: str) -> None:
    with pytest.raises(
        ConfigError, match=r"^dataset\.zip_encoding=.* is out of range: expected auto or an encoding such"
    ):
        DatasetConfig(zip_encoding=encoding)


def test_decomposed_accents_are_composed_in_archives_and_class_names(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "café") for form in ("NFD", "NFC")]
    write_zip(tmp_path / "mac.zip", [f"{names[0]}/1.jpg".encode()])
    assert names_of(extract_archive(tmp_path / "mac.zip", tmp_path / "images")) == {f"{names[1]}/1.jpg"}
    for folder in (f"train/{names[0]}", f"test/{names[1]}", "train/bar", "test/bar"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / folder / "1.png")
    index = scan_root(tmp_path / "photos")
    assert index.class_names == ["bar", names[1]]
    assert rename_classes(index, {names[0]: "inn"}).class_names == ["bar", "inn"]
