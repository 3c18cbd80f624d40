"""Valid and damaged image files as bytes, written with Pillow or, for formats that Pillow cannot write, by hand."""

import math
import struct
import zlib
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

WIDTH, HEIGHT = 96, 64


def make_image() -> Image.Image:
    """Create a noisy image, red on the left, blue on the right, greener at the bottom, so that all rotations differ."""
    pixels = np.random.default_rng(0).integers(0, 25, (HEIGHT, WIDTH, 3))
    pixels[:, : WIDTH // 2, 0] += 200
    pixels[:, WIDTH // 2 :, 2] += 200
    pixels[..., 1] += np.linspace(0, 180, HEIGHT).astype(int)[:, None]
    return Image.fromarray(pixels.astype(np.uint8))


IMAGE = make_image()
GRAY_IMAGE = IMAGE.convert("L")
BINARY_IMAGE = IMAGE.convert("1")
LEFT_ON_WHITE = Image.new("RGB", IMAGE.size, "white")
LEFT_ON_WHITE.paste(IMAGE.crop((0, 0, WIDTH // 2, HEIGHT)))
LEFT_MASK = Image.new("L", IMAGE.size)  # an alpha channel
LEFT_MASK.paste(255, (0, 0, WIDTH // 2, HEIGHT))


def encode(image_format: str, image: Image.Image = IMAGE, **options: Any) -> bytes:
    """Encode an image with Pillow."""
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


encode_jpeg = partial(encode, "JPEG", quality=95)


def encode_rotated(orientation: int, image_format: str = "JPEG") -> bytes:
    """Encode the image as cameras do: transposed, with the EXIF orientation that restores it."""
    transpose_by_orientation = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # values of Image.Transpose
    stored = IMAGE.transpose(Image.Transpose(transpose_by_orientation[orientation])) if orientation > 1 else IMAGE
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(image_format, stored, exif=exif, **{"quality": 95} if image_format == "JPEG" else {})


def jpeg_with_exif(block: bytes) -> bytes:
    """Return a JPEG with the given EXIF block."""
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 8) + b"Exif\0\0" + block + encode_jpeg()[2:]


def corrupt_scan() -> bytes:
    """Return a JPEG with damaged bytes in the last fifth of its scan data."""
    content = bytearray(encode_jpeg())
    for offset in range(len(content) - len(content) // 5, len(content) - 2, 40):
        content[offset] = 0x3C
    return bytes(content)


def cmyk_jpeg(*, transform: int) -> bytes:
    """Return an inverted CMYK JPEG as Adobe writes it; transform 2 stores the first three channels as YCbCr (YCCK)."""
    channels = ImageOps.invert(IMAGE)
    if transform == 2:
        # Pillow inverts the channels and writes transform 0.
        channels = Image.merge("RGB", channels.convert("YCbCr").point(lambda value: 255 - value).split())
    content = encode_jpeg(Image.merge("CMYK", [*channels.split(), Image.new("L", IMAGE.size, 0)]))
    offset = content.index(b"Adobe") + 11
    return content[:offset] + bytes([transform]) + content[offset + 1 :]


def png_chunk(chunk_type: bytes, content: bytes) -> bytes:
    """Return a PNG chunk with its length and CRC."""
    return struct.pack(">I", len(content)) + chunk_type + content + struct.pack(">I", zlib.crc32(chunk_type + content))


def build_png(width: int, height: int, bit_depth: int, color_type: int, rows: bytes, *chunks: bytes) -> bytes:
    """Build a PNG by hand, for variants that Pillow cannot write."""
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    body = [png_chunk(b"IHDR", header), *chunks, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def png_rows(pixels: np.ndarray) -> bytes:
    """Return the unfiltered rows of a PNG."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def gray16_png() -> bytes:
    """Return a 16-bit grayscale PNG."""
    return encode("PNG", Image.fromarray(np.asarray(GRAY_IMAGE) * np.uint16(257)))


def float_tiff() -> bytes:
    """Return a TIFF with float32 values from 0 to 1."""
    return encode("TIFF", Image.fromarray(np.asarray(GRAY_IMAGE) / np.float32(255)))


def rgb16_png() -> bytes:
    """Return a 16-bit RGB PNG."""
    return build_png(WIDTH, HEIGHT, 16, 2, png_rows((np.asarray(IMAGE).astype(np.uint16) * 257).astype(">u2")))


def replace_at(content: bytes, offset: int, new: bytes) -> bytes:
    """Replace the bytes at an offset."""
    return content[:offset] + new + content[offset + len(new) :]


def truncate(content: bytes) -> bytes:
    """Return the first half of a file."""
    return content[: len(content) // 2]


def double_height(content: bytes) -> bytes:
    """Double the height in a JPEG header. Decoders cannot detect this and fill the missing rows with gray."""
    return replace_at(content, content.index(b"\xff\xc0") + 5, struct.pack(">H", 2 * HEIGHT))


def png_with_bad_crc(chunk_type: bytes) -> bytes:
    """Return a PNG with a wrong CRC in its first chunk of a type."""
    content = encode("PNG")
    start = content.index(chunk_type)
    (length,) = struct.unpack(">I", content[start - 4 : start])
    return replace_at(content, start + 4 + length, b"\1\2\3\4")


def multi_frame(image_format: str, **options: Any) -> bytes:
    """Return an animation or multi-page file whose first frame is the image, followed by two others."""
    frames = [Image.new(IMAGE.mode, IMAGE.size, color) for color in ("black", "lime")]
    return encode(image_format, save_all=True, append_images=frames, **options)


def transparent_palette_png() -> bytes:
    """Return a palette PNG whose right half is transparent."""
    image = LEFT_ON_WHITE.quantize(255)
    return encode("PNG", image, transparency=image.getpixel((WIDTH - 1, 0)))


def png_with_alpha(mode: str) -> bytes:
    """Return a PNG whose right half is transparent."""
    image = IMAGE.convert(mode)
    image.putalpha(LEFT_MASK)
    return encode("PNG", image)


def text_bomb(*, megabytes: int) -> bytes:
    """Return a PNG with a compressed comment that takes 1 KB per megabyte."""
    compressor = zlib.compressobj(9)
    first, repeated = (compressor.compress(bytes(1_000_000)) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    comment = png_chunk(b"zTXt", b"Comment\0\0" + first + repeated * (megabytes - 1))
    return build_png(1, 1, 8, 2, b"\0\0\0\0", comment)


def tiled_tiff(side: int) -> bytes:
    """Return a little-endian 8-bit grayscale TIFF whose deflated 256 x 256 tiles share the same bytes."""
    tile = zlib.compress(bytes(256 * 256), 9)
    count = math.ceil(side / 256) ** 2
    entries = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    offsets = 8 + 2 + 12 * 10 + 4
    entries += [(322, 3, 1, 256), (323, 3, 1, 256), (324, 4, count, offsets), (325, 4, count, offsets + 4 * count)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    tile_table = struct.pack("<I", offsets + 8 * count) * count + struct.pack("<I", len(tile)) * count
    return b"II*\0" + struct.pack("<I", 8) + directory + tile_table + tile


def gif_bomb() -> bytes:
    """Return a GIF whose header declares 50,000 x 50,000 pixels."""
    return replace_at(encode("GIF"), 6, struct.pack("<HH", 50_000, 50_000))


def webp_bomb() -> bytes:
    """Return a WebP whose header declares 16,384 x 16,384 pixels."""
    content = encode("WEBP", lossless=True)
    return replace_at(content, content.index(b"VP8L") + 9, struct.pack("<I", 16_383 | 16_383 << 14))
