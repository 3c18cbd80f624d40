"""Look at one file: decode it once, and keep what every later question asks of it."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.data.duplicates import make_thumbnail
from cnn_classifier.data.modes import oriented_size
from cnn_classifier.data.oddities import find_warnings
from cnn_classifier.data.preprocess import Pixels, Preprocess, convert_image, is_special, open_image
from cnn_classifier.errors import UnreadableImageError

# How the digest of a file begins whose bytes cannot be read.
UNREADABLE_PREFIX = "unread "


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
