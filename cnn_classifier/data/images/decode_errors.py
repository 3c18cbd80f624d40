"""Say in plain words why a file cannot be read, from what was raised and how the file begins."""

import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

# What Pillow's decoders raise on broken files, found by fuzzing them.
DECODER_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    SyntaxError,
    RuntimeError,
    LookupError,
    ArithmeticError,
    struct.error,
    Image.DecompressionBombError,
)
# Pillow itself only warns up to twice this size; a photo of 179 megapixels is no photo.
MAX_PIXELS = 2 * 89_478_485
TOO_LARGE = f"too large: more than {MAX_PIXELS:,} pixels"
# The major brands of ISO/IEC 23008-12 that phones and cameras write.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Words in Pillow's messages.
TRUNCATED = ("truncated", "not enough", "unexpected end", "buffer is not large enough", "unpack")
# The first bytes of a file, in lower case -> what it is.
SIGNATURES = {
    b"\xff\xd8": "a damaged JPEG",
    b"\x89png": "a damaged PNG",
    b"gif8": "a damaged GIF",
    b"riff": "a damaged WebP, or a sound or film",
    b"ii*\0": "a damaged TIFF",
    b"mm\0*": "a damaged TIFF",
    b"<!doctype html": "not an image: it starts like a web page",
    b"<html": "not an image: it starts like a web page",
    b"<?xml": "not an image: it starts like XML",
    b"%!ps": "PostScript, which is a program and never run",
    b"%pdf": "not an image: it starts like a PDF",
    b"pk\3\4": "not an image: it starts like a ZIP archive",
}


def is_heic(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


def read_head(source: Path | str | BinaryIO) -> bytes:
    """The first bytes of a file or stream."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return file.read(256)
    source.seek(0)
    return source.read(256)


def describe_decode_error(error: Exception, source: Path | str | BinaryIO) -> str:
    """Why Pillow raised this, without the path: that is named once, where the files are listed."""
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):
        return identify_file(read_head(source))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = str(error)
    if "MAX_TEXT" in message:
        return "too large: its text alone is over 1 MB"
    if any(phrase in message.lower() for phrase in TRUNCATED):
        return "cut short: the file ends before its picture does"
    return f"cannot be decoded: {' '.join(message.split())}"


def identify_file(head: bytes) -> str:
    """The kind of file that begins so."""
    if not head:
        return "the file is empty"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing, which has no pixels; save it as PNG"
    for signature, kind in SIGNATURES.items():
        if start.startswith(signature):
            return kind
    if is_heic(head):
        return "a damaged HEIC"
    if not any(head):
        return "not an image: it starts with zeros only"
    line = head.decode("latin-1").strip().split("\n")[0].strip()[:24]
    if line.isascii() and line.isprintable():
        return f"not an image: it starts like text, {line!r}"
    return "not an image, or of a format that is not read here"
