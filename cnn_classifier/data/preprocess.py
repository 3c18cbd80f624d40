"""The one way from an image file to the pixels a network sees: train, evaluate and predict all come through here."""

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from cnn_classifier.errors import UnreadableImageError

Pixels = npt.NDArray[np.uint8]

# Pillow sniffs the content, not the name; formats outside this list (EPS runs Ghostscript) are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".avif",
        ".jp2",
    ]
)
RESIZE_POLICIES = ("squash", "crop", "pad")
# What Pillow's decoders raise on broken files, found by fuzzing them.
DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    struct.error,
    Image.DecompressionBombError,
)
# Pillow itself only warns up to twice this size; a photo of 179 megapixels is no photo.
MAX_PIXELS = 2 * 89_478_485


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Plain data that travels inside every checkpoint.

    Args:
        image_size: Side in pixels of the square result.
        channels: 3 for RGB, 1 for grey.
        resize: `squash` ignores the aspect ratio, `crop` keeps the centre, `pad` adds black bars.
        mean: Subtracted from pixels in [0, 1], one value a channel.
        std: What the rest is divided by, one value a channel.
    """

    image_size: int
    channels: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists only, so that a checkpoint stays plain data."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """The inverse of `as_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def load(self, source: Path | str | Image.Image | npt.NDArray[Any]) -> Pixels:
        """Decode, orient, convert and resize one image.

        Args:
            source: A file, a Pillow image, or an array of uint8 (H, W), (H, W, 3) or (H, W, 4).

        Returns:
            uint8 (image_size, image_size, channels)

        Raises:
            UnreadableImageError: If it cannot be decoded.
        """
        image = self._resized(decode(source, self.channels))
        return np.asarray(image, dtype=np.uint8).reshape(self.image_size, self.image_size, self.channels)

    def _resized(self, image: Image.Image) -> Image.Image:
        size = (self.image_size, self.image_size)
        if self.resize == "crop":
            return ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        if self.resize == "pad":
            return ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        return image.resize(size, Image.Resampling.BILINEAR)


def decode(source: Path | str | Image.Image | npt.NDArray[Any], channels: int) -> Image.Image:
    """The upright image in RGB (3 channels) or grey (1 channel), at its own size.

    Raises:
        UnreadableImageError: If it cannot be decoded.
    """
    if isinstance(source, np.ndarray):
        return convert(from_array(source), channels)
    if isinstance(source, Image.Image):
        return convert(source, channels)
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImageError(f"{image.width} x {image.height} pixels are too many")
            return convert(image, channels)
    except DECODER_ERRORS as error:
        # Pillow's message repeats the path; ours names it once, where the files are listed.
        told = getattr(error, "strerror", None) or str(error).replace(f" {str(source)!r}", "")
        raise UnreadableImageError(told) from error


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """A Pillow image of a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    pixels = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if (
        pixels.dtype != np.uint8
        or not pixels.size
        or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4)))
    ):
        raise UnreadableImageError(
            f"an array of {array.dtype} {array.shape} is no image; expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    return Image.fromarray(pixels)


def convert(image: Image.Image, channels: int) -> Image.Image:
    """Turn upright, lay transparency on white, and bring every mode to RGB or grey of 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        image = to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L")


def to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floats in [0, 1], as 8 bits; Pillow's own conversion clips, to all white or black."""
    pixels = np.asarray(image)
    if image.mode == "F":
        pixels = pixels * (255 if pixels.max() <= 1 else 1)
    elif image.mode.startswith("I;16") or pixels.max() > 255:
        pixels = pixels >> 8
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
