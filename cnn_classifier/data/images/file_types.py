"""Recognition of image files: by their extension, or by their first bytes if the extension is unknown."""

import re
from mimetypes import MimeTypes
from pathlib import Path

from cnn_classifier.data.images.decode_errors import is_heic, is_special

# The extensions of image files, and the format that each stands for.
EXTENSIONS = (
    dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"], "JPEG")
    | dict.fromkeys([".png", ".apng"], "PNG")
    | dict.fromkeys([".tif", ".tiff"], "TIFF")
    | dict.fromkeys([".ppm", ".pgm", ".pbm", ".pnm", ".pfm"], "PPM")
    | dict.fromkeys([".heic", ".heif"], "HEIF")
    | dict.fromkeys([".avif", ".avifs"], "AVIF")
    | dict.fromkeys([".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"], "JPEG2000")
    | {".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF"}
)
# The first bytes of an image file. TIFF is not among them: the raw files of cameras start like TIFF.
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM....\0\0\0\0...\0|P[1-6]\s+[#\d]"
    rb"|....ftypavi[fs]|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
    re.DOTALL,
)
TIFF_SIGNATURE = re.compile(rb"II\*\0|MM\0\*")
MIME_TYPES = MimeTypes()  # without the files of the system, so that the result is the same everywhere


def is_image_file(path: Path) -> bool:
    """Return whether a file is an image.

    Files with the extension of an image are not opened. Others are recognized by their first bytes, unless their
    extension stands for another type, or was appended to that of an image, as by editors and downloads.
    """
    suffix = path.suffix.lower()
    if suffix in EXTENSIONS:
        return not is_special(path)
    mime_type = MIME_TYPES.guess_type(path.name)[0]
    if mime_type not in (None, "application/octet-stream") or Path(path.stem).suffix.lower() in EXTENSIONS:
        return False
    return not suffix.endswith("~") and not is_special(path) and has_image_signature(path)


def has_image_signature(path: Path) -> bool:
    """Return whether the first bytes of a file are those of an image; of a TIFF only if it has no extension."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return False
    is_tiff = not path.suffix and TIFF_SIGNATURE.match(head) is not None
    return is_tiff or SIGNATURE.match(head) is not None or is_heic(head)
