"""Atomic writing of pages, thumbnails and escaping."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from cnn_classifier.data.sources.class_names import pluralize
from cnn_classifier.errors import StorageError
from cnn_classifier.report.pages.html import escape_unprintable, make_thumbnails, write_page

TEMPLATE = "style.css"  # has no variables


def decode_data_uri(data_uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(data_uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnails_are_scaled_and_upright_or_give_the_reason(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("RGB", (640, 320), "red").save(tmp_path / "photo.jpg", exif=exif)
    Image.new("RGBA", (16, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "empty.png").touch()
    absolute_path = str(tmp_path / "photo.jpg")

    thumbnails = make_thumbnails(["photo.jpg", "clear.png", "empty.png", absolute_path, "photo.jpg"], tmp_path / ".")

    assert decode_data_uri(thumbnails["photo.jpg"].data_uri).size == (64, 128)
    assert decode_data_uri(thumbnails["clear.png"].data_uri).getpixel((0, 0)) == (255, 255, 255)
    assert (thumbnails["clear.png"].width, thumbnails["clear.png"].height) == (16, 8)  # never enlarged
    assert thumbnails["empty.png"].reason
    assert not thumbnails["empty.png"].data_uri
    assert thumbnails[absolute_path] == thumbnails["photo.jpg"]


def test_write_page_creates_folders_and_replaces_existing_file(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    write_page(page, TEMPLATE)
    page.write_text("old")
    write_page(page, TEMPLATE)
    assert "prefers-color-scheme" in page.read_text()
    assert list(page.parent.iterdir()) == [page]


def test_unwritable_page_raises_storage_error_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StorageError, match=r"^Cannot write .*page\.html \(.+\): .+ choose another folder\.$"):
        write_page(tmp_path / "page.html", TEMPLATE)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write .*page\.html \(.+\): "):
        write_page(tmp_path / "file" / "page.html", TEMPLATE)


def test_unprintable_characters_are_escaped_and_other_values_unchanged() -> None:
    assert escape_unprintable("a\nb\x00\udce9\u202e") == r"a\nb\x00\udce9\u202e"
    for value in ("plain", "\u732b \U0001f468\u200d\U0001f469", 7, 0.5):
        assert escape_unprintable(value) == value


def test_pluralize_adds_suffix_except_for_one() -> None:
    assert [pluralize(1, "class"), pluralize(2, "class")] == ["1 class", "2 classes"]
    assert pluralize(1200, "image") == "1,200 images"
