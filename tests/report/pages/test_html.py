"""Pages are written whole or not at all; the pictures in them are small, upright and safe."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from cnn_classifier.data.checks.suggestions import pluralize
from cnn_classifier.errors import StorageError
from cnn_classifier.report.pages.html import escape_unprintable, make_thumbnails, write_page

TEMPLATE = "style.css"  # asks for no values


def picture_of(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnails_are_small_whole_and_upright_or_say_why_there_is_none(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    Image.new("RGB", (640, 320), "red").save(tmp_path / "photo.jpg", exif=exif)
    Image.new("RGBA", (16, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    (tmp_path / "empty.png").touch()
    elsewhere = str(tmp_path / "photo.jpg")

    shown = make_thumbnails(["photo.jpg", "clear.png", "empty.png", elsewhere, "photo.jpg"], tmp_path / ".")

    assert picture_of(shown["photo.jpg"].data_uri).size == (64, 128)
    assert picture_of(shown["clear.png"].data_uri).getpixel((0, 0)) == (255, 255, 255)
    assert (shown["clear.png"].width, shown["clear.png"].height) == (16, 8)  # never enlarged
    assert shown["empty.png"].reason
    assert not shown["empty.png"].data_uri
    assert shown[elsewhere] == shown["photo.jpg"]


def test_a_page_replaces_an_older_one_and_makes_its_folder(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    write_page(page, TEMPLATE)
    page.write_text("old")
    write_page(page, TEMPLATE)
    assert "prefers-color-scheme" in page.read_text()
    assert list(page.parent.iterdir()) == [page]


def test_a_page_that_cannot_be_written_is_named_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(StorageError, match=r"^Cannot write .*page\.html \(.+\): .+ choose another folder\.$"):
        write_page(tmp_path / "page.html", TEMPLATE)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"^Cannot write .*page\.html \(.+\): "):
        write_page(tmp_path / "file" / "page.html", TEMPLATE)


def test_what_cannot_be_seen_is_spelt_out_and_the_rest_is_left_alone() -> None:
    assert escape_unprintable("a\nb\x00\udce9\u202e") == r"a\nb\x00\udce9\u202e"
    for seen in ("plain", "\u732b \U0001f468\u200d\U0001f469", 7, 0.5):
        assert escape_unprintable(seen) == seen


def test_nouns_follow_their_number() -> None:
    assert [pluralize(1, "class"), pluralize(2, "class")] == ["1 class", "2 classes"]
    assert pluralize(1200, "image") == "1,200 images"
