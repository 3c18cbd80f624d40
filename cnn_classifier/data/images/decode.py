"""Opening of image files, including HEIC and JPEG files without an end marker, which Pillow alone refuses."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from cnn_classifier.data.images.decode_errors import (
    DECODER_ERRORS,
    MAX_PIXELS,
    TOO_LARGE,
    describe_decode_error,
    is_heic,
    is_special,
    read_head,
)
from cnn_classifier.errors import UnreadableImageError, install_command

END_MARKER = b"\xff\xd9"
# Pillow detects the format from the content. Other formats are never tried: EPS would run Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
# Large enough for the thumbnails of the duplicate check, so that they do not depend on the image size of a run.
MIN_DRAFT_SIZE = 1024
# The filter for Pillow's warnings about EXIF data and sizes, as it is stored in `warnings.filters`. The data check
# reports both in its own words.
PIL_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def open_heic(source: Path | str | BinaryIO) -> ImageFile:
    """Open a HEIC image with pillow-heif, an optional dependency.

    Raises:
        UnreadableImageError: If pillow-heif is not installed.
    """
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise UnreadableImageError(f"HEIC requires {install_command('heic')}") from error
    return Image.open(source, formats=("HEIF",))


def load_tolerantly(image: Image.Image) -> Image.Image:
    """Decode the pixels of an opened image; a JPEG that lacks only its end marker is accepted.

    Raises:
        OSError: If pixels are missing. Pillow raises many other exceptions, see `DECODER_ERRORS`.
    """
    try:
        image.load()
        return image
    except OSError:
        file = getattr(image, "fp", None)
        if image.format != "JPEG" or file is None:
            raise
        file.seek(0)
        data = file.read()
    # The decoder fills missing pixels from the bytes that follow. If two different tails give the same pixels, none are
    # missing.
    tails = (END_MARKER, b"\x55\xaa" * 64 + END_MARKER)
    first, other = (Image.open(BytesIO(data + tail), formats=("JPEG",)) for tail in tails)
    if first.tobytes() != other.tobytes():
        raise OSError("image file is truncated")
    return first


@contextmanager
def open_image(source: Path | str | BinaryIO) -> Iterator[ImageFile]:
    """Open an image: read its header and check its size, without decoding the pixels.

    Any decoder error inside the block is converted, so the block should contain only decoding.

    Args:
        source: A path, or a seekable stream of the file's bytes.

    Raises:
        UnreadableImageError: If the image cannot be decoded.
    """
    if PIL_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=PIL_WARNINGS[3].pattern)
    try:
        with open_image_file(source) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise UnreadableImageError(TOO_LARGE if image.width * image.height else "it has no pixels")
            yield image
    except DECODER_ERRORS as error:
        raise UnreadableImageError(describe_decode_error(error, source)) from error


def open_image_file(source: Path | str | BinaryIO) -> ImageFile:
    """Open an image with Pillow, or with pillow-heif if the content is HEIC."""
    if isinstance(source, Path | str) and is_special(source):
        raise UnreadableImageError("not a regular file, but a folder, a pipe, a socket or a device")
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if is_heic(read_head(source)):
            return open_heic(source)
        raise
