"""Descriptions of decoding errors, from the exception and the first bytes of the file."""

import stat
import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from cnn_classifier.errors import single_line

# The exceptions that Pillow's decoders raise for broken files, found by fuzzing.
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
# Pillow's limit for `DecompressionBombError`, twice the size at which it warns.
MAX_PIXELS = 2 * 89_478_485
TOO_LARGE = f"too large: more than {MAX_PIXELS:,} pixels"
# The major brands of ISO/IEC 23008-12 that phones and cameras write.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# Parts of Pillow's messages for truncated files.
TRUNCATED = ("truncated", "not enough", "unexpected end", "buffer is not large enough", "unpack")
# Descriptions of files by their first bytes in lower case.
SIGNATURES = {
    b"\xff\xd8": "a damaged JPEG",
    b"\x89png": "a damaged PNG",
    b"gif8": "a damaged GIF",
    b"riff": "a damaged WebP, or an audio or video file",
    b"ii*\0": "a damaged TIFF",
    b"mm\0*": "a damaged TIFF",
    b"<!doctype html": "not an image: it starts like a web page",
    b"<html": "not an image: it starts like a web page",
    b"<?xml": "not an image: it starts like XML",
    b"%!ps": "PostScript, which is a program and is never run",
    b"%pdf": "not an image: it starts like a PDF",
    b"pk\3\4": "not an image: it starts like a ZIP archive",
}


def is_heic(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of a HEIC image."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIC_BRANDS


def is_special(path: Path | str) -> bool:
    """Return whether a path exists but is not a regular file, since reading a pipe or device may never end."""
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def read_head(source: Path | str | BinaryIO) -> bytes:
    """Return the first 256 bytes of a file or stream."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            return file.read(256)
    source.seek(0)
    return source.read(256)


def describe_decode_error(error: Exception, source: Path | str | BinaryIO) -> str:
    """Return the reason of a decoding error without the path, which is reported with the list of files."""
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):
        return identify_file(read_head(source))
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    message = str(error)
    if "MAX_TEXT" in message:
        return "too large: its text chunks exceed 1 MB"
    if any(phrase in message.lower() for phrase in TRUNCATED):
        return "truncated: the file ends before the image is complete"
    return f"cannot be decoded: {single_line(error)}"


def identify_file(head: bytes) -> str:
    """Return a description of a file from its first bytes."""
    if not head:
        return "the file is empty"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "an SVG drawing, which has no pixels; convert it to PNG"
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
    return "not an image, or an unsupported format"
