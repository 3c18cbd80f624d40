"""Tests of the recognition of image files by extension and by content."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from cnn_classifier.data.images.decode import FORMATS
from cnn_classifier.data.images.file_types import EXTENSIONS, is_image_file
from cnn_classifier.data.sources.folder import scan_root

IMAGE = Image.new("RGB", (20, 20), "red")


def encode(format: str) -> bytes:
    buffer = BytesIO()
    IMAGE.save(buffer, format)
    return buffer.getvalue()


def test_every_extension_of_the_supported_formats_is_known() -> None:
    expected = {ext: name for ext, name in Image.registered_extensions().items() if name in (*FORMATS, "MPO")}
    assert expected.items() <= (EXTENSIONS | {".mpo": "MPO", ".heic": "HEIF", ".heif": "HEIF"}).items()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["photo", "photo.jpg?w=100", "photo.dat", "photo.2024-05-01", "IMG.0001"])
def test_image_without_a_known_extension_is_recognized_by_content(format: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(encode(format))
    assert is_image_file(tmp_path / name) == (format != "TIFF" or name == "photo")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README", b"P1 is not an image"),
        ("notes", b"BMW is a car, not an image, so that this file is text"),
        ("photo.cr2", b"II*\0" + bytes(60)),
        ("movie", b"\0\0\0\x18ftypmp42" + bytes(60)),
        ("photo.jpg.bak", encode("JPEG")),
        ("photo.jpg~", encode("JPEG")),
        ("page.html", encode("PNG")),
        ("empty", b""),
    ],
)
def test_other_files_are_not_images(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert not is_image_file(tmp_path / name)


def test_scan_finds_images_of_every_name_and_counts_the_others(tmp_path: Path) -> None:
    files = {
        "cats/a.MPO": "MPO",
        "cats/b.pnm": "PPM",
        "cats/c": "JPEG",
        "dogs/d.JFIF": "JPEG",
        "dogs/e.Jp2": "JPEG2000",
    }
    for name, format in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(format))
    (tmp_path / "cats" / "LICENSE").write_text("free", encoding="utf-8")
    (tmp_path / "cats" / "a.jpg.part").write_bytes(encode("JPEG"))
    index = scan_root(tmp_path)
    assert [sample.path.relative_to(tmp_path).as_posix() for sample in index.samples] == sorted(files)
    assert index.ignored == {"(none)": 1, ".part": 1}
