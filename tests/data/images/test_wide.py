"""Tests of images with more than 8 bits per channel."""

from io import BytesIO

import numpy as np
import pytest
from helpers.image_bytes import build_png, encode, png_rows
from PIL import Image

from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.images.wide import WideImage, read_wide
from cnn_classifier.errors import UnreadableImageError

RANDOM = np.random.default_rng(0)
RGB16, RGBA16, LA16, GRAY16 = (
    RANDOM.integers(0, 65536, shape, np.uint16) for shape in ((12, 16, 3), (12, 16, 4), (12, 16, 2), (12, 16))
)
INT32, FLOAT32 = RANDOM.integers(-5000, 90000, (12, 16), np.int32), RANDOM.normal(0, 3, (12, 16)).astype(np.float32)
PREPROCESS = Preprocess(image_size=4, channels=1, resize="stretch", mean=(0.0,), std=(1.0,), value_range=(1000, 3000))


def png16(values: np.ndarray, color_type: int) -> bytes:
    return build_png(16, 12, 16, color_type, png_rows(values.astype(">u2")))


def tiff(values: np.ndarray, compression: str = "raw") -> bytes:
    return encode("TIFF", Image.fromarray(values), compression=compression)


@pytest.mark.parametrize(
    ("content", "values"),
    [
        pytest.param(png16(GRAY16, 0), GRAY16, id="gray PNG"),
        pytest.param(png16(RGB16, 2), RGB16, id="RGB PNG"),
        pytest.param(png16(LA16, 4), LA16, id="gray PNG with opacity"),
        pytest.param(png16(RGBA16, 6), RGBA16, id="RGB PNG with opacity"),
        pytest.param(tiff(GRAY16), GRAY16, id="TIFF"),
        pytest.param(tiff(GRAY16.astype(">u2"), "tiff_lzw"), GRAY16, id="big-endian TIFF"),
        pytest.param(tiff(INT32), INT32, id="TIFF with negative values"),
        pytest.param(tiff(FLOAT32, "tiff_lzw"), FLOAT32, id="float TIFF"),
    ],
)
def test_all_bits_of_a_file_are_read(content: bytes, values: np.ndarray) -> None:
    with open_image(BytesIO(content)) as image:
        wide = read_wide(image)
    assert wide is not None
    np.testing.assert_array_equal(wide.values, values)


def test_8_bit_images_are_not_wide() -> None:
    with open_image(BytesIO(encode("PNG"))) as image:
        assert read_wide(image) is None
        assert image.tile  # nothing was decoded


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_values_are_scaled_by_the_range_and_clipped(dtype: str) -> None:
    pixels = [PREPROCESS.load(np.full((8, 8), value, dtype)).max() for value in (0, 1000, 1004, 2000, 3000, 9000)]
    assert pixels == [0, 0, 1, 128, 255, 255]
    image = Image.fromarray(np.full((8, 8), 2000, dtype))
    assert PREPROCESS.load(image).max() == PREPROCESS.load(encode("TIFF", image)).max() == 128


def test_nan_is_black_and_infinities_are_clipped() -> None:
    values = np.array([[np.nan, -np.inf, np.inf, 2000]], np.float32)
    assert np.asarray(WideImage(values).to_uint8((1000, 3000))).tolist() == [[0, 0, 255, 128]]


def test_limits_exclude_hot_pixels_and_nan() -> None:
    values = np.full((32, 32), 2000, np.float32)
    values[0, 0], values[1, 1], values[2, 2], values[3] = 65535, -9999, np.nan, 2100
    assert WideImage(values).limits() == (2000, 2100)


def test_image_without_finite_values_is_unreadable() -> None:
    with pytest.raises(UnreadableImageError, match="no finite values"):
        WideImage(np.full((4, 4), np.nan)).limits()


def test_range_does_not_change_8_bit_images() -> None:
    without_range = Preprocess(image_size=4, channels=1, resize="stretch", mean=(0.0,), std=(1.0,))
    np.testing.assert_array_equal(PREPROCESS.load(encode("PNG")), without_range.load(encode("PNG")))


def test_range_is_stored_only_if_there_is_one() -> None:
    values = PREPROCESS.to_dict()
    assert Preprocess.from_dict(values) == PREPROCESS
    assert values.pop("value_range") == [1000, 3000]
    assert "value_range" not in Preprocess.from_dict(values).to_dict()  # a checkpoint of an earlier version


def test_opacity_of_16_bits_is_composited_on_white() -> None:
    values = np.full((8, 8, 2), 1000, np.uint16)
    values[..., 1] = [0] * 4 + [65535] * 4
    assert set(np.unique(PREPROCESS.load(build_png(8, 8, 16, 4, png_rows(values.astype(">u2")))))) >= {0, 255}
