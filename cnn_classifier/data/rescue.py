"""Second attempts at files that Pillow alone refuses: HEIC, and a JPEG that lacks nothing but its end marker."""

from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

from cnn_classifier.errors import UnreadableImageError

# The major brands of ISO/IEC 23008-12 that phones and cameras write.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
END_MARKER = b"\xff\xd9"


def is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


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
