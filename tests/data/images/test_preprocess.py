"""Tests of decoding and resizing images to model input pixels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.errors import UnreadableImageError

RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)


def preprocess(**values: Any) -> Preprocess:
    defaults = {"image_size": 8, "channels": 3, "resize": "stretch", "mean": (0.5,), "std": (0.25,)}
    return Preprocess(**defaults | values)


def stripes(*colors: tuple[int, int, int], width: int = 4, height: int = 8) -> Image.Image:
    """Return an image of vertical stripes, from left to right."""
    image = Image.new("RGB", (width * len(colors), height))
    for index, color in enumerate(colors):
        image.paste(color, (index * width, 0, (index + 1) * width, height))
    return image


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate clockwise
    stripes(RED, BLUE, width=16, height=32).save(tmp_path / "photo.jpg", exif=exif, quality=95)
    pixels = preprocess().load(tmp_path / "photo.jpg").astype(int)
    assert np.abs(pixels[0] - RED).max() < 10
    assert np.abs(pixels[-1] - BLUE).max() < 10


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grayscale_is_scaled_not_clipped(tmp_path: Path, channels: int) -> None:
    gray16 = np.repeat(np.array([[0, 100, 200, 255]], np.uint16) * 257, 4, axis=0)
    Image.fromarray(gray16).save(tmp_path / "xray.png")
    pixels = preprocess(image_size=4, channels=channels).load(tmp_path / "xray.png")
    assert pixels.shape == (4, 4, channels)
    assert pixels[0].tolist() == [[gray] * channels for gray in (0, 100, 200, 255)]


def palette_with_transparency() -> Image.Image:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*BLACK, *RED])
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (8, 8), (*BLACK, 0)), WHITE),
        (Image.new("RGBA", (8, 8), (*BLACK, 255)), BLACK),
        (Image.new("RGBA", (8, 8), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (8, 8), (0, 0)), WHITE),
        (palette_with_transparency(), WHITE),
        (Image.new("RGB", (8, 8), RED).quantize(4), RED),
        (Image.new("1", (8, 8), 1), WHITE),
        (Image.new("L", (8, 8), 100), (100, 100, 100)),
    ],
    ids=["transparent", "opaque", "translucent", "gray-alpha", "palette-alpha", "palette", "bilevel", "gray"],
)
def test_every_mode_becomes_rgb_with_transparency_on_white(
    tmp_path: Path, image: Image.Image, expected: tuple[int, int, int]
) -> None:
    image.save(tmp_path / "picture.png")
    assert np.unique(preprocess().load(tmp_path / "picture.png").reshape(-1, 3), axis=0).tolist() == [list(expected)]


def test_cmyk_becomes_rgb_and_rgb_becomes_grayscale(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.tif")
    assert preprocess().load(tmp_path / "print.tif")[0, 0].tolist() == list(RED)
    gray = preprocess(channels=1).load(Image.new("RGB", (8, 8), RED))
    assert gray.shape == (8, 8, 1)
    assert np.unique(gray).tolist() == [76]  # 0.299 of red, ITU-R 601


def test_wide_image_is_stretched_cropped_or_padded() -> None:
    wide = stripes(RED, GREEN, GREEN, BLUE)  # 16 x 8
    stretched, cropped, padded = (preprocess(resize=policy).load(wide) for policy in ("stretch", "crop", "pad"))
    assert stretched[4, [0, -1]].tolist() == [list(RED), list(BLUE)]
    assert (cropped == GREEN).all()
    assert (padded[[0, 1, 6, 7]] == BLACK).all()
    assert padded[4, [0, -1]].tolist() == [list(RED), list(BLUE)]


def test_preprocess_round_trips_through_json() -> None:
    original = preprocess(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 0.5))
    plain = original.to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert Preprocess.from_dict(plain) == original


def test_uint8_arrays_are_images() -> None:
    for shape in ((8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4), (1, 500, 3)):
        assert (preprocess().load(np.full(shape, 255, np.uint8)) == np.full((8, 8, 3), 255)).all()


@pytest.mark.parametrize(
    "array", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 2), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)]
)
def test_unsupported_array_is_refused_with_dtype_and_shape(array: np.ndarray) -> None:
    with pytest.raises(UnreadableImageError) as raised:
        preprocess().load(array)
    expected = f"unsupported array {array.dtype} {array.shape}; expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
    assert str(raised.value) == expected


def truncated_jpeg(path: Path) -> None:
    stripes(RED, GREEN, BLUE, width=32, height=96).save(path)
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("404 Not Found", encoding="utf-8"), "it starts like text, '404 Not Found'"),
        (truncated_jpeg, "truncated"),
        (lambda path: path.write_bytes(b"P5 20000 20000 255\n"), "more than 178,956,970 pixels"),
    ],
    ids=["empty", "text", "truncated", "bomb"],
)
def test_unreadable_file_error_has_a_reason_without_path(tmp_path: Path, write: Any, reason: str) -> None:
    write(tmp_path / "broken.jpg")
    with pytest.raises(UnreadableImageError, match=reason) as raised:
        preprocess().load(tmp_path / "broken.jpg")
    assert "broken.jpg" not in str(raised.value)


def test_postscript_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as image:
        assert image.format == "EPS"  # by default, Pillow would run Ghostscript
    with pytest.raises(UnreadableImageError, match="PostScript, which is a program and is never run"):
        preprocess().load(path)


@pytest.mark.parametrize(("dtype", "value"), [(np.int32, 200), (np.int32, 200 * 256), (np.float32, 200 / 255)])
def test_32_bit_and_float_grayscale_keep_their_brightness(tmp_path: Path, dtype: type, value: float) -> None:
    Image.fromarray(np.full((8, 8), value, dtype)).save(tmp_path / "gray.tif")

    preprocess = Preprocess(image_size=8, channels=1, resize="stretch", mean=(0.5,), std=(0.25,))
    assert abs(int(preprocess.load(tmp_path / "gray.tif")[0, 0, 0]) - 200) <= 1
