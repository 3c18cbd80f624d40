"""Unusual and damaged image files, each with its expected treatment."""

import struct
from pathlib import Path
from typing import NamedTuple

from helpers.image_bytes import (
    BINARY_IMAGE,
    GRAY_IMAGE,
    HEIGHT,
    IMAGE,
    LEFT_ON_WHITE,
    WIDTH,
    build_png,
    cmyk_jpeg,
    corrupt_scan,
    double_height,
    encode,
    encode_jpeg,
    encode_rotated,
    float_tiff,
    gif_bomb,
    gray16_png,
    jpeg_with_exif,
    multi_frame,
    png_with_alpha,
    png_with_bad_crc,
    replace_at,
    rgb16_png,
    text_bomb,
    tiled_tiff,
    transparent_palette_png,
    truncate,
    webp_bomb,
)
from PIL import Image

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"
STRIP = IMAGE.crop((0, 0, 1, HEIGHT)).resize((1, 10_000))
TOP = IMAGE.crop((0, 0, WIDTH, HEIGHT // 2))


class OddImage(NamedTuple):
    """One image file and its expected treatment.

    Args:
        content: The bytes of the file.
        verdict: The result of a scan: `ok`, `ok, noted: WARNING, WARNING`, `bad: part of the reason` or `ignored`.
        shows: The expected pixels of the upper left part.
    """

    content: bytes
    verdict: str
    shows: Image.Image = IMAGE


ODD_IMAGES: dict[str, OddImage] = {
    # not images
    "empty.jpg": OddImage(b"", "bad: the file is empty"),
    "zeros.jpg": OddImage(bytes(5000), "bad: it starts with zeros only"),
    "text.jpg": OddImage(b"no such picture\n", "bad: it starts like text, 'no such picture'"),
    "web_page.jpg": OddImage(WEB_PAGE, "bad: it starts like a web page"),
    "drawing.jpg": OddImage(SVG, "bad: an SVG drawing"),
    "drawing.svg": OddImage(SVG, "ignored"),
    "postscript.jpg": OddImage(EPS, "bad: PostScript, which is a program and is never run"),
    "postscript.eps": OddImage(EPS, "ignored"),
    "phone.heic": OddImage(HEIC, "bad: HEIC"),
    "phone.jpg": OddImage(HEIC, "bad: HEIC"),
    # damaged
    "half.jpg": OddImage(truncate(encode_jpeg()), "bad: truncated"),
    "half_progressive.jpg": OddImage(truncate(encode_jpeg(progressive=True)), "bad: truncated"),
    "half.png": OddImage(truncate(encode("PNG")), "bad: truncated"),
    "half.gif": OddImage(truncate(encode("GIF")), "bad: truncated"),
    "half.webp": OddImage(truncate(encode("WEBP")), "bad: cannot be decoded"),
    "half.tif": OddImage(truncate(encode("TIFF")), "bad: truncated"),
    "half.bmp": OddImage(truncate(encode("BMP")), "bad: truncated"),
    "no_end_marker.jpg": OddImage(encode_jpeg()[:-2], "ok"),
    "no_last_bytes.jpg": OddImage(encode_jpeg()[:-40], "bad: truncated"),
    "garbage_behind.jpg": OddImage(encode_jpeg() + b"garbage" * 99, "ok"),
    "flipped_scan.jpg": OddImage(corrupt_scan(), "ok", TOP),
    "bad_header_crc.png": OddImage(png_with_bad_crc(b"IHDR"), "bad: a damaged PNG"),
    "bad_data_crc.png": OddImage(png_with_bad_crc(b"IDAT"), "ok"),
    "claims_more.bmp": OddImage(replace_at(encode("BMP"), 22, struct.pack("<i", 2 * HEIGHT)), "bad: truncated"),
    "claims_more.jpg": OddImage(double_height(encode_jpeg()), "ok", TOP),
    "broken_exif.jpg": OddImage(jpeg_with_exif(b"MM\0*\0\0\0\x99"), "ok"),
    # bombs
    "bomb.png": OddImage(build_png(50_000, 50_000, 1, 0, bytes(50_000)), "bad: too large"),
    "bomb.gif": OddImage(gif_bomb(), "bad: too large"),
    "bomb.tif": OddImage(tiled_tiff(20_000), "bad: too large"),
    "bomb.webp": OddImage(webp_bomb(), "bad: too large"),
    "bomb_in_text.png": OddImage(text_bomb(megabytes=100), "bad: too large"),
    # readable with a warning
    "animated.gif": OddImage(multi_frame("GIF"), "ok, noted: animated, palette"),
    "animated.png": OddImage(multi_frame("PNG"), "ok, noted: animated"),
    "animated.webp": OddImage(multi_frame("WEBP", lossless=True), "ok, noted: animated"),
    "pages.tif": OddImage(multi_frame("TIFF"), "ok, noted: multi-page"),
    "cmyk.jpg": OddImage(cmyk_jpeg(transform=0), "ok, noted: cmyk"),
    "ycck.jpg": OddImage(cmyk_jpeg(transform=2), "ok, noted: cmyk"),
    "cmyk.tif": OddImage(encode("TIFF", IMAGE.convert("CMYK")), "ok, noted: cmyk"),
    "grey16.png": OddImage(gray16_png(), "ok, noted: 16-bit", GRAY_IMAGE),
    "colour16.png": OddImage(rgb16_png(), "ok, noted: 16-bit"),
    "float.tif": OddImage(float_tiff(), "ok, noted: float", GRAY_IMAGE),
    "bilevel.png": OddImage(encode("PNG", BINARY_IMAGE), "ok, noted: 1-bit", BINARY_IMAGE),
    "palette.png": OddImage(transparent_palette_png(), "ok, noted: palette, transparent", LEFT_ON_WHITE),
    "grey_alpha.png": OddImage(png_with_alpha("L"), "ok, noted: transparent", LEFT_ON_WHITE.convert("L")),
    "alpha.png": OddImage(png_with_alpha("RGB"), "ok, noted: transparent", LEFT_ON_WHITE),
    "opaque_alpha.png": OddImage(encode("PNG", IMAGE.convert("RGBA")), "ok"),
    # other formats and names
    "photo.avif": OddImage(encode("AVIF", quality=95), "ok"),
    "photo.jp2": OddImage(encode("JPEG2000"), "ok"),
    "PNG_named.jpg": OddImage(encode("PNG"), "ok, noted: misnamed"),
    "JPEG_named.png": OddImage(encode_jpeg(), "ok, noted: misnamed"),
    "UPPER.JPG": OddImage(encode_jpeg(), "ok"),
    "no_extension": OddImage(encode_jpeg(), "ok"),
    "1x1.png": OddImage(encode("PNG", IMAGE.crop((0, 0, 1, 1))), "ok, noted: tiny", IMAGE.crop((0, 0, 1, 1))),
    "1x10000.png": OddImage(encode("PNG", STRIP), "ok, noted: tiny, extreme-aspect", STRIP),
    "turned1.jpg": OddImage(encode_rotated(1), "ok"),
    **{f"turned{tag}.jpg": OddImage(encode_rotated(tag), "ok, noted: exif-rotated") for tag in range(2, 9)},
    **{f"turned{tag}.tif": OddImage(encode_rotated(tag, "TIFF"), "ok, noted: exif-rotated") for tag in (3, 6)},
}  # fmt: skip


def write_odd_images(folder: Path) -> None:
    """Write all files of `ODD_IMAGES` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, odd in ODD_IMAGES.items():
        (folder / name).write_bytes(odd.content)
