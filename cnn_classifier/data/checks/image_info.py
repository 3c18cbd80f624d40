"""Properties of an image file: digest, format, size, thumbnail and warnings."""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.ImageFile import ImageFile

from cnn_classifier.data.checks.near_duplicates import make_thumbnail
from cnn_classifier.data.images.color_modes import exif_transpose_op, oriented_size
from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.images.decode_errors import is_special
from cnn_classifier.data.images.file_types import EXTENSIONS
from cnn_classifier.data.images.preprocess import Pixels, Preprocess, convert_image, flatten
from cnn_classifier.data.images.wide import ValueRange, is_high_bit_depth, read_wide
from cnn_classifier.errors import UnreadableImageError

# The warnings of `find_warnings`, each with the treatment of such images.
WARNINGS = {
    "animated": "the first frame is used",
    "multi-page": "the first page is used",
    "cmyk": "converted to RGB, with the embedded color profile if there is one",
    "16-bit": "values in the range of the training images are scaled to 8 bits (dataset.value_range)",
    "float": "values in the range of the training images are scaled to 8 bits (dataset.value_range)",
    "1-bit": "converted to black and white pixels",
    "palette": "palette indices are replaced by their colors",
    "transparent": "composited onto a white background",
    "exif-rotated": "rotated upright",
    "misnamed": "decoded by content; the file extension is ignored",
    "tiny": "a side is shorter than 16 pixels; enlarged to the image size",
    "extreme-aspect": "one side is over 10 times the other; resized as set by dataset.resize",
    "huge": "over 50 megapixels; reduced to the image size",
}
TINY_SIZE = 16
EXTREME_ASPECT_RATIO = 10
HUGE_NUM_PIXELS = 50_000_000
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
# Pillow reports JPEG files with several images, as saved by some phones, as MPO.
FORMAT_ALIASES = {"MPO": "JPEG"}
# The prefix of the digest of a file whose bytes cannot be read.
UNREADABLE_PREFIX = "unread "


def find_warnings(image: ImageFile, source: Path | None = None) -> tuple[str, ...]:
    """Return the unusual properties of a readable image: keys of `WARNINGS`, in that order.

    Args:
        image: The image as opened by Pillow, not yet decoded. Decoding discards the original bit depth.
        source: The path, whose extension is compared with the format. None disables the warning `misnamed`.
    """
    is_multi_frame, high_bit_depth = getattr(image, "is_animated", False), is_high_bit_depth(image)
    flags = {
        "animated": is_multi_frame and image.format in ANIMATED_FORMATS,
        "multi-page": is_multi_frame and image.format == "TIFF",
        "cmyk": image.mode == "CMYK",
        "16-bit": high_bit_depth,
        "float": image.mode == "F",
        "1-bit": image.mode == "1",
        "palette": image.mode == "P",
        "exif-rotated": exif_transpose_op(image) is not None,
        "misnamed": source is not None and is_misnamed(str(image.format), source),
        "tiny": min(image.size) < TINY_SIZE,
        "extreme-aspect": max(image.size) > EXTREME_ASPECT_RATIO * min(image.size),
        "huge": image.width * image.height > HUGE_NUM_PIXELS,
        "transparent": image.mode[0] not in "IF" and is_transparent(image),  # last, because it decodes the image
    }
    return tuple(warning for warning in WARNINGS if flags[warning])


def is_misnamed(image_format: str, source: Path) -> bool:
    """Return whether the file extension belongs to a format other than that of the content."""
    expected_format = EXTENSIONS.get(source.suffix.lower())
    return expected_format not in (None, FORMAT_ALIASES.get(image_format, image_format))


def is_transparent(image: ImageFile) -> bool:
    """Return whether any pixel is transparent; many images have an alpha channel that is opaque throughout."""
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


@dataclass(frozen=True)
class ImageInfo:
    """The properties of an image file's content.

    Args:
        decode_error: The reason why the file cannot be decoded, or None if it can.
        format: The format name that Pillow detects from the content, such as `JPEG`.
        width: The width in pixels after EXIF rotation.
        height: The height in pixels after EXIF rotation.
        warnings: The keys of `WARNINGS` that apply, without `misnamed`, which depends on the path.
        thumbnail: The 16 x 16 grayscale thumbnail as 256 bytes, for the duplicate search. Empty if the file cannot be
            decoded.
        value_limits: The lowest and highest value of an image with more than 8 bits per channel, without outliers. None
            for an image with 8 bits.
    """

    decode_error: str | None = None
    format: str = ""
    width: int = 0
    height: int = 0
    warnings: tuple[str, ...] = ()
    thumbnail: bytes = b""
    value_limits: ValueRange | None = None

    def to_row(self) -> tuple[Any, ...]:
        """Return the properties of a readable image as columns of a database."""
        limits = self.value_limits and json.dumps(self.value_limits)
        return self.format, self.width, self.height, " ".join(self.warnings), self.thumbnail, limits

    @classmethod
    def from_row(
        cls, name: str, width: int, height: int, warnings: str, thumbnail: bytes, limits: str | None
    ) -> "ImageInfo":
        """Return the `ImageInfo` of the columns that `to_row` returns."""
        value_limits = tuple(json.loads(limits)) if limits else None
        return cls(None, name, width, height, tuple(warnings.split()), thumbnail, value_limits)


def compute_digest(path: Path) -> str:
    """Return the SHA-256 digest of a file's bytes, or a unique placeholder if the file cannot be read.

    `read_image_info` then reports the reason.
    """
    if not is_special(path):
        with suppress(OSError), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return UNREADABLE_PREFIX + hashlib.sha256(os.fsencode(path)).hexdigest()


def read_image_info(path: Path, *, preprocess: Preprocess | None = None) -> tuple[ImageInfo, Pixels | None]:
    """Decode a file once and return its properties and, with `preprocess`, its preprocessed pixels.

    Args:
        path: The image file.
        preprocess: The preprocessing of the pixels to return. None returns no pixels.

    Returns:
        The `ImageInfo`, and the uint8 pixels of shape (image_size, image_size, channels), or None without `preprocess`,
        if the file cannot be decoded, or if it has more than 8 bits and the value range is yet to be measured.
    """
    channels, min_size = (preprocess.channels, preprocess.image_size) if preprocess else (3, 1)
    try:
        with open_image(path) as image:
            warnings = find_warnings(image)
            width, height = oriented_size(image)
            image_format = str(image.format)
            wide = read_wide(image)
            limits = wide.limits() if wide else None
            # The thumbnail is cached by content, so it does not depend on the range of a dataset.
            if wide and limits:
                decoded = flatten(wide.to_uint8(limits), channels)
            else:
                decoded = convert_image(image, channels, min_size=min_size)
    except UnreadableImageError as error:
        return ImageInfo(decode_error=str(error)), None
    info = ImageInfo(
        format=image_format,
        width=width,
        height=height,
        warnings=warnings,
        thumbnail=make_thumbnail(decoded).tobytes(),
        value_limits=limits,
    )
    if preprocess is None or (wide and preprocess.value_range is None):
        return info, None
    if wide and preprocess.value_range:
        decoded = flatten(wide.to_uint8(preprocess.value_range), channels)
    return info, preprocess.resize_image(decoded)
