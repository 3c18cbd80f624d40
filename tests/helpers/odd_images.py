"""Every odd kind of image that people's folders hold, each with what must become of it."""

import struct
from pathlib import Path
from typing import NamedTuple

from helpers.image_bytes import (
    BLACK_AND_WHITE,
    GREY,
    HEIGHT,
    LEFT_ON_WHITE,
    PICTURE,
    WIDTH,
    bad_crc,
    changed,
    claims_more,
    cut,
    deep_colour,
    deep_grey,
    encoded,
    flipped_scan,
    float_grey,
    frames,
    gif_bomb,
    jpeg,
    png,
    print_jpeg,
    rotated,
    see_through_palette,
    text_bomb,
    tiled_tiff,
    webp_bomb,
    with_alpha,
    with_exif,
)
from PIL import Image

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
WEB_PAGE = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>"
STRIP = PICTURE.crop((0, 0, 1, HEIGHT)).resize((1, 10_000))
TOP = PICTURE.crop((0, 0, WIDTH, HEIGHT // 2))


class Odd(NamedTuple):
    """One file.

    Args:
        content: Its bytes.
        verdict: `ok` | `ok, noted: NOTE, NOTE` | `bad: part of the reason` | `ignored`, when a folder is scanned.
        shows: What must be seen, from the upper left on.
    """

    content: bytes
    verdict: str
    shows: Image.Image = PICTURE


ODD_IMAGES: dict[str, Odd] = {
    # no image at all
    "empty.jpg": Odd(b"", "bad: the file is empty"),
    "zeros.jpg": Odd(bytes(5000), "bad: it starts with zeros only"),
    "text.jpg": Odd(b"no such picture\n", "bad: it starts like text, 'no such picture'"),
    "web_page.jpg": Odd(WEB_PAGE, "bad: it starts like a web page"),
    "drawing.jpg": Odd(SVG, "bad: an SVG drawing"),
    "drawing.svg": Odd(SVG, "ignored"),
    "postscript.jpg": Odd(EPS, "bad: PostScript, which is a program and never run"),
    "postscript.eps": Odd(EPS, "ignored"),
    "phone.heic": Odd(HEIC, "bad: HEIC"),
    "phone.jpg": Odd(HEIC, "bad: HEIC"),
    # damaged
    "half.jpg": Odd(cut(jpeg()), "bad: cut short"),
    "half_progressive.jpg": Odd(cut(jpeg(progressive=True)), "bad: cut short"),
    "half.png": Odd(cut(encoded("PNG")), "bad: cut short"),
    "half.gif": Odd(cut(encoded("GIF")), "bad: cut short"),
    "half.webp": Odd(cut(encoded("WEBP")), "bad: cannot be decoded"),
    "half.tif": Odd(cut(encoded("TIFF")), "bad: cut short"),
    "half.bmp": Odd(cut(encoded("BMP")), "bad: cut short"),
    "no_end_marker.jpg": Odd(jpeg()[:-2], "ok"),
    "no_last_bytes.jpg": Odd(jpeg()[:-40], "bad: cut short"),
    "garbage_behind.jpg": Odd(jpeg() + b"garbage" * 99, "ok"),
    "flipped_scan.jpg": Odd(flipped_scan(), "ok", TOP),
    "bad_header_crc.png": Odd(bad_crc(b"IHDR"), "bad: a damaged PNG"),
    "bad_data_crc.png": Odd(bad_crc(b"IDAT"), "ok"),
    "claims_more.bmp": Odd(changed(encoded("BMP"), 22, struct.pack("<i", 2 * HEIGHT)), "bad: cut short"),
    "claims_more.jpg": Odd(claims_more(jpeg()), "ok", TOP),
    "broken_exif.jpg": Odd(with_exif(b"MM\0*\0\0\0\x99"), "ok"),
    # bombs
    "bomb.png": Odd(png(50_000, 50_000, 1, 0, bytes(50_000)), "bad: too large"),
    "bomb.gif": Odd(gif_bomb(), "bad: too large"),
    "bomb.tif": Odd(tiled_tiff(20_000), "bad: too large"),
    "bomb.webp": Odd(webp_bomb(), "bad: too large"),
    "bomb_in_text.png": Odd(text_bomb(megabytes=100), "bad: too large"),
    # read by a rule of their own
    "animated.gif": Odd(frames("GIF"), "ok, noted: animated, palette"),
    "animated.png": Odd(frames("PNG"), "ok, noted: animated"),
    "animated.webp": Odd(frames("WEBP", lossless=True), "ok, noted: animated"),
    "pages.tif": Odd(frames("TIFF"), "ok, noted: multi-page"),
    "cmyk.jpg": Odd(print_jpeg(transform=0), "ok, noted: cmyk"),
    "ycck.jpg": Odd(print_jpeg(transform=2), "ok, noted: cmyk"),
    "cmyk.tif": Odd(encoded("TIFF", PICTURE.convert("CMYK")), "ok, noted: cmyk"),
    "grey16.png": Odd(deep_grey(), "ok, noted: 16-bit", GREY),
    "colour16.png": Odd(deep_colour(), "ok, noted: 16-bit"),
    "float.tif": Odd(float_grey(), "ok, noted: float", GREY),
    "bilevel.png": Odd(encoded("PNG", BLACK_AND_WHITE), "ok, noted: 1-bit", BLACK_AND_WHITE),
    "palette.png": Odd(see_through_palette(), "ok, noted: palette, transparent", LEFT_ON_WHITE),
    "grey_alpha.png": Odd(with_alpha("L"), "ok, noted: transparent", LEFT_ON_WHITE.convert("L")),
    "alpha.png": Odd(with_alpha("RGB"), "ok, noted: transparent", LEFT_ON_WHITE),
    "opaque_alpha.png": Odd(encoded("PNG", PICTURE.convert("RGBA")), "ok"),
    # other formats and names
    "photo.avif": Odd(encoded("AVIF", quality=95), "ok"),
    "photo.jp2": Odd(encoded("JPEG2000"), "ok"),
    "PNG_named.jpg": Odd(encoded("PNG"), "ok, noted: misnamed"),
    "JPEG_named.png": Odd(jpeg(), "ok, noted: misnamed"),
    "UPPER.JPG": Odd(jpeg(), "ok"),
    "no_extension": Odd(jpeg(), "ignored"),
    "1x1.png": Odd(encoded("PNG", PICTURE.crop((0, 0, 1, 1))), "ok, noted: tiny", PICTURE.crop((0, 0, 1, 1))),
    "1x10000.png": Odd(encoded("PNG", STRIP), "ok, noted: tiny, extreme-aspect", STRIP),
    "turned1.jpg": Odd(rotated(1), "ok"),
    **{f"turned{tag}.jpg": Odd(rotated(tag), "ok, noted: exif-rotated") for tag in range(2, 9)},
    **{f"turned{tag}.tif": Odd(rotated(tag, "TIFF"), "ok, noted: exif-rotated") for tag in (3, 6)},
}  # fmt: skip


def write_odd_images(folder: Path) -> None:
    """Every one of them, under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, odd in ODD_IMAGES.items():
        (folder / name).write_bytes(odd.content)
