"""Images with more than 8 bits per channel: their values, and the conversion to 8 bits by a range of values."""

import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnn_classifier.data.images.color_modes import exif_transpose_op
from cnn_classifier.data.images.decode import FORMATS, load_tolerantly
from cnn_classifier.errors import UnreadableImageError

ValueRange = tuple[float, float]
NUM_LEVELS = 256  # gray levels of 8 bits
# The fraction of the pixels that the limits of an image exclude at each end, such as hot pixels; at least one pixel.
EXCLUDED_FRACTION = 0.001
MAX_MEASURED_PIXELS = 2**20  # more pixels do not change the limits noticeably
# The modes of color images whose 16 bits Pillow reduces to 8 while it decodes them, by the raw mode of the decoder.
WIDE_COLOR_MODES = {"RGB": "RGB", "RGBX": "RGB", "RGBA": "RGBA"}
GRAY_ALPHA_RAW_MODE = "LA;16B"
OTHER_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class WideImage:
    """The values of a decoded image with more than 8 bits per channel.

    Args:
        values: The values, integer or float, shape (H, W) or (H, W, C). The last of 2 or 4 channels is the opacity,
            from 0 to 65,535.
        transpose_op: The operation that makes the image upright, or None.
    """

    values: npt.NDArray[Any]
    transpose_op: Image.Transpose | None = None

    def limits(self) -> ValueRange:
        """Return the lowest and highest value without outliers, infinities and NaN.

        Raises:
            UnreadableImageError: If no value is finite.
        """
        values = split_alpha(self.values)[0].ravel()
        values = values[:: max(1, values.size // MAX_MEASURED_PIXELS)]
        finite = values[np.isfinite(values)]
        if not finite.size:
            raise UnreadableImageError("it has no finite values")
        low = np.quantile(finite, EXCLUDED_FRACTION, method="higher")
        high = np.quantile(finite, 1 - EXCLUDED_FRACTION, method="lower")
        return (float(low), float(high)) if low <= high else (float(high), float(low))

    def to_uint8(self, value_range: ValueRange) -> Image.Image:
        """Return an upright 8-bit image; values outside of the range are clipped, and NaN is black."""
        colors, alpha = split_alpha(self.values)
        low, high = value_range
        levels: npt.NDArray[Any] = colors.astype(np.float32 if colors.dtype.itemsize <= 2 else np.float64)
        levels = (levels - low) * ((NUM_LEVELS - 1) / ((high - low) or 1))
        levels = np.nan_to_num(levels, nan=0, posinf=NUM_LEVELS - 1, neginf=0).clip(0, NUM_LEVELS - 1)
        pixels = np.rint(levels).astype(np.uint8)
        if alpha is not None:
            pixels = np.dstack([pixels, (alpha >> 8).astype(np.uint8)])
        image = Image.fromarray(pixels)
        return image if self.transpose_op is None else image.transpose(self.transpose_op)


def split_alpha(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return the color channels (H, W) or (H, W, 3), and the opacity (H, W) if there is one."""
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        return (values[..., 0] if values.shape[-1] == 2 else values[..., :3]), values[..., -1]
    return values, None


def is_high_bit_depth(image: Image.Image) -> bool:
    """Return whether a channel of an image that is not yet decoded has more than 8 bits of integers.

    Pillow reduces color channels to 8 bits while decoding, so the bit depth is read from the decoder settings.
    """
    return image.mode.startswith("I") or any(raw_mode.split(";")[-1][:-1] == "16" for raw_mode in raw_modes(image))


def raw_modes(image: Image.Image) -> list[str]:
    """Return the raw mode of each tile of an image that is not yet decoded, such as `RGB;16B`."""
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    return [str(values[0] if isinstance(values, tuple) and values else values) for values in arguments]


def read_wide(image: Image.Image) -> WideImage | None:
    """Decode an image with more than 8 bits per channel; return None, and decode nothing, if it has 8 bits."""
    if image.mode == "F" or image.mode.startswith("I"):
        values: npt.NDArray[Any] = np.asarray(load_tolerantly(image))
    elif set(raw_modes(image)) == {GRAY_ALPHA_RAW_MODE}:
        data = np.asarray(decode_as(image, "RGBA")).astype(np.uint16)  # the bytes of both channels
        values = data[..., ::2] << 8 | data[..., 1::2]
    elif mode := wide_color_mode(image):
        low_bytes = decode_as(image, None)
        high_bytes = np.asarray(load_tolerantly(image).convert(mode))
        values = high_bytes.astype(np.uint16) << 8 | np.asarray(low_bytes.convert(mode))
    else:
        return None
    return WideImage(values, exif_transpose_op(image))


def wide_color_mode(image: Image.Image) -> str | None:
    """Return the mode of a color image with 16 bits per channel, or None for other images."""
    modes = {tuple(raw_mode.split(";16")) for raw_mode in raw_modes(image)}
    name, *suffix = modes.pop() if len(modes) == 1 else ("",)
    return WIDE_COLOR_MODES.get(name) if suffix and suffix[0] in OTHER_BYTE else None


def decode_as(image: Image.Image, raw_mode: str | None) -> Image.Image:
    """Decode a second copy of an image that is not yet decoded.

    Args:
        image: The image.
        raw_mode: The arrangement of bytes; None swaps the bytes of 16 bits, of which Pillow returns the higher.
    """
    file: Any = image.fp  # type: ignore[attr-defined]
    position = file.tell()
    file.seek(0)
    copy = Image.open(BytesIO(file.read()), formats=FORMATS)
    file.seek(position)
    tiles = []
    for tile, mode in zip(copy.tile, raw_modes(copy), strict=True):
        new_mode = raw_mode or mode[:-1] + OTHER_BYTE[mode[-1]]
        tiles.append(tile._replace(args=(new_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else new_mode))
    copy.tile = tiles
    copy.load()
    return copy
