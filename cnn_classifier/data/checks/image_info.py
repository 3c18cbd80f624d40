"""Name what is odd about an image that can be read, and say what is done about it."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL.ImageFile import ImageFile

from cnn_classifier.data.checks.near_duplicates import make_thumbnail
from cnn_classifier.data.images.color_modes import exif_transpose_op, oriented_size
from cnn_classifier.data.images.decode import EXTENSIONS, is_special, open_image
from cnn_classifier.data.images.preprocess import Pixels, Preprocess, convert_image
from cnn_classifier.errors import UnreadableImageError

# What `notes_of` can say -> what is done.
WARNINGS = {
    "animated": "the first frame is used",
    "multi-page": "the first page is used",
    "cmyk": "converted to RGB, by its colour profile if it has one",
    "16-bit": "more than 8 bits a channel are scaled to 8",
    "float": "values in [0, 1] or [0, 255] are scaled to 8 bits",
    "1-bit": "becomes pure black and pure white",
    "palette": "every index is replaced by its colour",
    "transparent": "laid on white",
    "exif-rotated": "turned upright",
    "misnamed": "read by its content, whatever its extension says",
    "tiny": "a side under 16 pixels, enlarged to the image size",
    "extreme-aspect": "one side is over 10 times the other; dataset.resize says how it becomes a square",
    "huge": "over 50 megapixels, reduced to the image size",
}
TINY_SIZE = 16
EXTREME_ASPECT_RATIO = 10
HUGE_NUM_PIXELS = 50_000_000
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
# Photos with several pictures in them, of which phones show the first, are JPEGs to everyone.
FORMAT_ALIASES = {"MPO": "JPEG"}
# How the digest of a file begins whose bytes cannot be read.
UNREADABLE_PREFIX = "unread "


def find_warnings(image: ImageFile, source: Path | None = None) -> tuple[str, ...]:
    """What is odd about an image, though it is read all the same: keys of `TREATMENTS`, in their order.

    Args:
        image: As Pillow opened it. Ask before anything else is asked of it: what is decoded has forgotten its depth.
        source: The file, for its extension; without it nothing is misnamed.
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
        "transparent": image.mode[0] not in "IF" and is_transparent(image),  # last: it decodes the pixels
    }
    return tuple(warning for warning in WARNINGS if flags[warning])


def is_high_bit_depth(image: ImageFile) -> bool:
    """Whether a channel has more than 8 bits; Pillow cuts those of colour while decoding, so ask its decoder."""
    return image.mode.startswith("I") or any(f";16{order}" in str(tile[3]) for tile in image.tile for order in "BLN")


def is_misnamed(image_format: str, source: Path) -> bool:
    """Whether the extension promises another format than the content has."""
    expected = EXTENSIONS.get(source.suffix.lower())
    return expected not in (None, FORMAT_ALIASES.get(image_format, image_format))


def is_transparent(image: ImageFile) -> bool:
    """Whether any pixel lets the ground through; many pictures carry an alpha channel that is opaque all over."""
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """What a file turned out to hold.

    Args:
        reason: Why it cannot be read; None if it can.
        format: As Pillow names it, from the content: `JPEG`.
        width: In pixels, upright.
        height: In pixels, upright.
        notes: What is odd about it and yet handled: keys of `oddities.TREATMENTS`, but for its name.
        thumbnail: Grey bytes (16 * 16) to tell copies by; empty if it cannot be read.
    """

    decode_error: str | None = None
    format: str = ""
    width: int = 0
    height: int = 0
    warnings: tuple[str, ...] = ()
    thumbnail: bytes = b""


def compute_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes; a name of its own where they cannot be read, which its inspection will say."""
    if not is_special(path):
        with suppress(OSError), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return UNREADABLE_PREFIX + hashlib.sha256(os.fsencode(path)).hexdigest()


def read_image_info(path: Path, *, preprocess: Preprocess | None = None) -> tuple[ImageInfo, Pixels | None]:
    """What the file holds and, if asked for, its final pixels: both from decoding it once.

    Returns:
        The inspection, and uint8 (image_size, image_size, channels) where `preprocess` is given and the file readable.
    """
    channels, min_size = (preprocess.channels, preprocess.image_size) if preprocess else (3, 1)
    try:
        with open_image(path) as image:
            warnings = find_warnings(image)
            width, height = oriented_size(image)
            image_format = str(image.format)
            decoded = convert_image(image, channels, min_size=min_size)
    except UnreadableImageError as error:
        return ImageInfo(decode_error=str(error)), None
    info = ImageInfo(
        format=image_format, width=width, height=height, warnings=warnings, thumbnail=make_thumbnail(decoded).tobytes()
    )
    return info, preprocess.resize_image(decoded) if preprocess else None
