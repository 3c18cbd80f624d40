"""Second attempts at files that Pillow alone refuses: HEIC, and a JPEG that lacks nothing but its end marker."""

import re
import stat
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
    read_head,
)
from cnn_classifier.errors import UnreadableImageError

END_MARKER = b"\xff\xd9"
# Pillow sniffs the content, not the name; formats outside this list (EPS runs Ghostscript) are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
# What is looked for in a folder, and the format that such a name promises.
EXTENSIONS = (
    dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif"], "JPEG")
    | dict.fromkeys([".tif", ".tiff"], "TIFF")
    | dict.fromkeys([".ppm", ".pgm", ".pbm"], "PPM")
    | dict.fromkeys([".heic", ".heif"], "HEIF")
    | {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF", ".jp2": "JPEG2000"}
)
# Large enough for the thumbnails that tell copies, so that these do not depend on the image size of a run.
MIN_DRAFT_SIZE = 1024
# Pillow's remarks on EXIF data and sizes; we have words of our own for both. As `warnings.filters` holds it.
PIL_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def open_heic(source: Path | str | BinaryIO) -> ImageFile:
    """Through pillow-heif, which Pillow does not bring along.

    Raises:
        UnreadableImageError: If it is not installed.
    """
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise UnreadableImageError('HEIC needs pip install "cnn_classifier[heic]"') from error
    return Image.open(source, formats=("HEIF",))


def load_tolerantly(image: Image.Image) -> Image.Image:
    """The image with its pixels decoded; a JPEG that lacks only its end marker is whole all the same.

    Raises:
        OSError: If pixels are missing, and much else that Pillow raises.
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
    # The decoder makes up what is missing from what follows; if nothing is missing, what follows does not matter.
    tails = (END_MARKER, b"\x55\xaa" * 64 + END_MARKER)
    first, other = (Image.open(BytesIO(data + tail), formats=("JPEG",)) for tail in tails)
    if first.tobytes() != other.tobytes():
        raise OSError("image file is truncated")
    return first


@contextmanager
def open_image(source: Path | str | BinaryIO) -> Iterator[ImageFile]:
    """The image as Pillow opens it: the header is read and its size is sane, the pixels are not decoded yet.

    Whatever a decoder raises inside the block comes out as UnreadableImageError; so keep only decoding there.

    Args:
        source: A file, or a seekable stream of its bytes.

    Raises:
        UnreadableImageError: If it cannot be decoded.
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
    if isinstance(source, Path | str) and is_special(source):
        raise UnreadableImageError("no file, but a folder, a pipe, a socket or a device")
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if is_heic(read_head(source)):
            return open_heic(source)
        raise


def is_special(path: Path | str) -> bool:
    """Whether it is no regular file: to read a pipe or a device may never end. What cannot be looked at is none."""
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False
