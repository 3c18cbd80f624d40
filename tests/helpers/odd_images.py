"""Every odd kind of image that people's folders hold, each with what must become of it."""

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


class Odd(NamedTuple):
    """One file.

    Args:
        content: Its bytes.
        verdict: `ok` | `ok, noted: NOTE, NOTE` | `bad: part of the reason` | `ignored`, when a folder is scanned.
        shows: What must be seen, from the upper left on.
    """

    content: bytes
    verdict: str
    shows: Image.Image = IMAGE


ODD_IMAGES: dict[str, Odd] = {
    # no image at all
    "empty.jpg": Odd(b"", "bad: the file is empty"),
    "zeros.jpg": Odd(bytes(5000), "bad: it starts with zeros only"),
    "text.jpg": Odd(b"no such picture\n", "bad: it starts like text, 'no such picture'"),
    "web_page.jpg": Odd(WEB_PAGE, "bad: it starts like a web page"),
    "drawing.jpg": Odd(SVG, "bad: an SVG drawing"),
    "drawing.svg": Odd(SVG, "ignored"),
    "postscript.jpg": Odd(EPS, "bad: PostScript, which is a program and is never run"),
    "postscript.eps": Odd(EPS, "ignored"),
    "phone.heic": Odd(HEIC, "bad: HEIC"),
    "phone.jpg": Odd(HEIC, "bad: HEIC"),
    # damaged
    "half.jpg": Odd(truncate(encode_jpeg()), "bad: truncated"),
    "half_progressive.jpg": Odd(truncate(encode_jpeg(progressive=True)), "bad: truncated"),
    "half.png": Odd(truncate(encode("PNG")), "bad: truncated"),
    "half.gif": Odd(truncate(encode("GIF")), "bad: truncated"),
    "half.webp": Odd(truncate(encode("WEBP")), "bad: cannot be decoded"),
    "half.tif": Odd(truncate(encode("TIFF")), "bad: truncated"),
    "half.bmp": Odd(truncate(encode("BMP")), "bad: truncated"),
    "no_end_marker.jpg": Odd(encode_jpeg()[:-2], "ok"),
    "no_last_bytes.jpg": Odd(encode_jpeg()[:-40], "bad: truncated"),
    "garbage_behind.jpg": Odd(encode_jpeg() + b"garbage" * 99, "ok"),
    "flipped_scan.jpg": Odd(corrupt_scan(), "ok", TOP),
    "bad_header_crc.png": Odd(png_with_bad_crc(b"IHDR"), "bad: a damaged PNG"),
    "bad_data_crc.png": Odd(png_with_bad_crc(b"IDAT"), "ok"),
    "claims_more.bmp": Odd(replace_at(encode("BMP"), 22, struct.pack("<i", 2 * HEIGHT)), "bad: truncated"),
    "claims_more.jpg": Odd(double_height(encode_jpeg()), "ok", TOP),
    "broken_exif.jpg": Odd(jpeg_with_exif(b"MM\0*\0\0\0\x99"), "ok"),
    # bombs
    "bomb.png": Odd(build_png(50_000, 50_000, 1, 0, bytes(50_000)), "bad: too large"),
    "bomb.gif": Odd(gif_bomb(), "bad: too large"),
    "bomb.tif": Odd(tiled_tiff(20_000), "bad: too large"),
    "bomb.webp": Odd(webp_bomb(), "bad: too large"),
    "bomb_in_text.png": Odd(text_bomb(megabytes=100), "bad: too large"),
    # read by a rule of their own
    "animated.gif": Odd(multi_frame("GIF"), "ok, noted: animated, palette"),
    "animated.png": Odd(multi_frame("PNG"), "ok, noted: animated"),
    "animated.webp": Odd(multi_frame("WEBP", lossless=True), "ok, noted: animated"),
    "pages.tif": Odd(multi_frame("TIFF"), "ok, noted: multi-page"),
    "cmyk.jpg": Odd(cmyk_jpeg(transform=0), "ok, noted: cmyk"),
    "ycck.jpg": Odd(cmyk_jpeg(transform=2), "ok, noted: cmyk"),
    "cmyk.tif": Odd(encode("TIFF", IMAGE.convert("CMYK")), "ok, noted: cmyk"),
    "grey16.png": Odd(gray16_png(), "ok, noted: 16-bit", GRAY_IMAGE),
    "colour16.png": Odd(rgb16_png(), "ok, noted: 16-bit"),
    "float.tif": Odd(float_tiff(), "ok, noted: float", GRAY_IMAGE),
    "bilevel.png": Odd(encode("PNG", BINARY_IMAGE), "ok, noted: 1-bit", BINARY_IMAGE),
    "palette.png": Odd(transparent_palette_png(), "ok, noted: palette, transparent", LEFT_ON_WHITE),
    "grey_alpha.png": Odd(png_with_alpha("L"), "ok, noted: transparent", LEFT_ON_WHITE.convert("L")),
    "alpha.png": Odd(png_with_alpha("RGB"), "ok, noted: transparent", LEFT_ON_WHITE),
    "opaque_alpha.png": Odd(encode("PNG", IMAGE.convert("RGBA")), "ok"),
    # other formats and names
    "photo.avif": Odd(encode("AVIF", quality=95), "ok"),
    "photo.jp2": Odd(encode("JPEG2000"), "ok"),
    "PNG_named.jpg": Odd(encode("PNG"), "ok, noted: misnamed"),
    "JPEG_named.png": Odd(encode_jpeg(), "ok, noted: misnamed"),
    "UPPER.JPG": Odd(encode_jpeg(), "ok"),
    "no_extension": Odd(encode_jpeg(), "ignored"),
    "1x1.png": Odd(encode("PNG", IMAGE.crop((0, 0, 1, 1))), "ok, noted: tiny", IMAGE.crop((0, 0, 1, 1))),
    "1x10000.png": Odd(encode("PNG", STRIP), "ok, noted: tiny, extreme-aspect", STRIP),
    "turned1.jpg": Odd(encode_rotated(1), "ok"),
    **{f"turned{tag}.jpg": Odd(encode_rotated(tag), "ok, noted: exif-rotated") for tag in range(2, 9)},
    **{f"turned{tag}.tif": Odd(encode_rotated(tag, "TIFF"), "ok, noted: exif-rotated") for tag in (3, 6)},
}  # fmt: skip


def write_odd_images(folder: Path) -> None:
    """Every one of them, under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, odd in ODD_IMAGES.items():
        (folder / name).write_bytes(odd.content)
