"""The bytes of image files, whole and broken: by Pillow, and by hand what Pillow does not write."""

import math
import struct
import zlib
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 96, 64


def picture() -> Image.Image:
    """Red on the left, blue on the right, greener downwards and grainy: every turn and every missing row shows."""
    pixels = np.random.default_rng(0).integers(0, 25, (HEIGHT, WIDTH, 3))
    pixels[:, : WIDTH // 2, 0] += 200
    pixels[:, WIDTH // 2 :, 2] += 200
    pixels[..., 1] += np.linspace(0, 180, HEIGHT).astype(int)[:, None]
    return Image.fromarray(pixels.astype(np.uint8))


PICTURE = picture()
GREY = PICTURE.convert("L")
BLACK_AND_WHITE = PICTURE.convert("1")
LEFT_ON_WHITE = Image.new("RGB", PICTURE.size, "white")
LEFT_ON_WHITE.paste(PICTURE.crop((0, 0, WIDTH // 2, HEIGHT)))
LEFT = Image.new("L", PICTURE.size)  # an opacity
LEFT.paste(255, (0, 0, WIDTH // 2, HEIGHT))


def encoded(kind: str, image: Image.Image = PICTURE, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


jpeg = partial(encoded, "JPEG", quality=95)


def rotated(orientation: int, kind: str = "JPEG") -> bytes:
    """The picture as a camera stores it: turned away by what the tag says turns it back."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose
    stored = PICTURE.transpose(Image.Transpose(back[orientation])) if orientation > 1 else PICTURE
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, stored, exif=exif, **{"quality": 95} if kind == "JPEG" else {})


def with_exif(block: bytes) -> bytes:
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + jpeg()[2:]


def flipped_scan() -> bytes:
    """Bytes changed in the last fifth of the coded picture."""
    content = bytearray(jpeg())
    for place in range(len(content) - len(content) // 5, len(content) - 2, 40):
        content[place] = 0x3C
    return bytes(content)


def print_jpeg(*, transform: int) -> bytes:
    """CMYK as Adobe writes it, inverted; with transform 2, its first three channels as YCbCr (YCCK)."""
    channels = ImageOps.invert(PICTURE)
    if transform == 2:
        # Pillow inverts while it writes, and marks the file with transform 0.
        channels = Image.merge("RGB", channels.convert("YCbCr").point(lambda value: 255 - value).split())
    content = jpeg(Image.merge("CMYK", [*channels.split(), Image.new("L", PICTURE.size, 0)]))
    place = content.index(b"Adobe") + 11
    return content[:place] + bytes([transform]) + content[place + 1 :]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """By hand, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = [chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def rows_of(pixels: np.ndarray) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def deep_grey() -> bytes:
    return encoded("PNG", Image.fromarray(np.asarray(GREY) * np.uint16(257)))


def float_grey() -> bytes:
    return encoded("TIFF", Image.fromarray(np.asarray(GREY) / np.float32(255)))


def deep_colour() -> bytes:
    return png(WIDTH, HEIGHT, 16, 2, rows_of((np.asarray(PICTURE).astype(np.uint16) * 257).astype(">u2")))


def changed(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def claims_more(content: bytes) -> bytes:
    """A JPEG whose header promises twice as many rows; no decoder of ours can tell, and the rest is grey."""
    return changed(content, content.index(b"\xff\xc0") + 5, struct.pack(">H", 2 * HEIGHT))


def bad_crc(kind: bytes) -> bytes:
    content = encoded("PNG")
    start = content.index(kind)
    (length,) = struct.unpack(">I", content[start - 4 : start])
    return changed(content, start + 4 + length, b"\1\2\3\4")


def frames(kind: str, **options: Any) -> bytes:
    """The picture, and then two that must never be seen."""
    later = [Image.new(PICTURE.mode, PICTURE.size, colour) for colour in ("black", "lime")]
    return encoded(kind, save_all=True, append_images=later, **options)


def see_through_palette() -> bytes:
    image = LEFT_ON_WHITE.quantize(255)
    return encoded("PNG", image, transparency=image.getpixel((WIDTH - 1, 0)))


def with_alpha(mode: str) -> bytes:
    image = PICTURE.convert(mode)
    image.putalpha(LEFT)
    return encoded("PNG", image)


def text_bomb(*, megabytes: int) -> bytes:
    """A compressed comment of 1 KB a megabyte."""
    squeezer = zlib.compressobj(9)
    first, again = (squeezer.compress(bytes(1_000_000)) + squeezer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    comment = chunk(b"zTXt", b"Comment\0\0" + first + again * (megabytes - 1))
    return png(1, 1, 8, 2, b"\0\0\0\0", comment)


def tiled_tiff(side: int) -> bytes:
    """Little-endian, 1 sample of 8 bits, deflated tiles of 256 x 256 that all are the same one."""
    tile = zlib.compress(bytes(256 * 256), 9)
    count = math.ceil(side / 256) ** 2
    entries = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    offsets = 8 + 2 + 12 * 10 + 4
    entries += [(322, 3, 1, 256), (323, 3, 1, 256), (324, 4, count, offsets), (325, 4, count, offsets + 4 * count)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    places = struct.pack("<I", offsets + 8 * count) * count + struct.pack("<I", len(tile)) * count
    return b"II*\0" + struct.pack("<I", 8) + directory + places + tile


def gif_bomb() -> bytes:
    return changed(encoded("GIF"), 6, struct.pack("<HH", 50_000, 50_000))


def webp_bomb() -> bytes:
    content = encoded("WEBP", lossless=True)
    return changed(content, content.index(b"VP8L") + 9, struct.pack("<I", 16_383 | 16_383 << 14))
