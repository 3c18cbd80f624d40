"""Look at one file: decode it once, and keep what every later question asks of it."""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.data.duplicates import thumbnail
from cnn_classifier.data.modes import upright_size
from cnn_classifier.data.oddities import notes_of
from cnn_classifier.data.preprocess import Pixels, Preprocess, converted, is_special, opened
from cnn_classifier.errors import UnreadableImageError

# How the digest of a file begins whose bytes cannot be read.
UNREAD = "unread "


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What a file turned out to hold.

    Args:
        reason: Why it cannot be read; None if it can.
        format: As Pillow names it, from the content: `JPEG`.
        width: In pixels, upright.
        height: In pixels, upright.
        notes: What is odd about it and yet handled: keys of `oddities.TREATMENTS`, but for its name.
        thumbnail: Grey bytes (16 * 16) to tell copies by; empty if it cannot be read.
    """

    reason: str | None = None
    format: str = ""
    width: int = 0
    height: int = 0
    notes: tuple[str, ...] = ()
    thumbnail: bytes = b""


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's bytes; a name of its own where they cannot be read, which its inspection will say."""
    if not is_special(path):
        with suppress(OSError), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return UNREAD + hashlib.sha256(os.fsencode(path)).hexdigest()


def inspect(path: Path, *, preprocess: Preprocess | None = None) -> tuple[Inspection, Pixels | None]:
    """What the file holds and, if asked for, its final pixels: both from decoding it once.

    Returns:
        The inspection, and uint8 (image_size, image_size, channels) where `preprocess` is given and the file readable.
    """
    channels, least = (preprocess.channels, preprocess.image_size) if preprocess else (3, 1)
    try:
        with opened(path) as image:
            notes = notes_of(image)
            width, height = upright_size(image)
            image_format = str(image.format)
            picture = converted(image, channels, least=least)
    except UnreadableImageError as error:
        return Inspection(reason=str(error)), None
    found = Inspection(
        format=image_format, width=width, height=height, notes=notes, thumbnail=thumbnail(picture).tobytes()
    )
    return found, preprocess.resized(picture) if preprocess else None
