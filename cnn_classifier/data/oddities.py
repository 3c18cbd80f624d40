"""Name what is odd about an image that can be read, and say what is done about it."""

from pathlib import Path

from PIL.ImageFile import ImageFile

from cnn_classifier.data.modes import exif_transpose_op
from cnn_classifier.data.preprocess import EXTENSIONS

# What `notes_of` can say -> what is done.
WARNINGS = {
    "animated": "the first frame is used",
    "multi-page": "the first page is used",
    "cmyk": "converted to RGB, by its colour profile if it has one",
    "16-bit": "more than 8 bits a channel are scaled to 8",
    "float": "values in [0, 1] or [0, 255] are scaled to 8 bits",
    "1-bit": "becomes pure black and pure white",
    "palette": "every index is replaced by its colour",
    "transparent": "laid on white",
    "exif-rotated": "turned upright",
    "misnamed": "read by its content, whatever its extension says",
    "tiny": "a side under 16 pixels, enlarged to the image size",
    "extreme-aspect": "one side is over 10 times the other; dataset.resize says how it becomes a square",
    "huge": "over 50 megapixels, reduced to the image size",
}
TINY_SIZE = 16
EXTREME_ASPECT_RATIO = 10
HUGE_NUM_PIXELS = 50_000_000
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
# Photos with several pictures in them, of which phones show the first, are JPEGs to everyone.
FORMAT_ALIASES = {"MPO": "JPEG"}


def find_warnings(image: ImageFile, source: Path | None = None) -> tuple[str, ...]:
    """What is odd about an image, though it is read all the same: keys of `TREATMENTS`, in their order.

    Args:
        image: As Pillow opened it. Ask before anything else is asked of it: what is decoded has forgotten its depth.
        source: The file, for its extension; without it nothing is misnamed.
    """
    is_multi_frame, high_bit_depth = getattr(image, "is_animated", False), is_high_bit_depth(image)
    flags = {
        "animated": is_multi_frame and image.format in ANIMATED_FORMATS,
        "multi-page": is_multi_frame and image.format == "TIFF",
        "cmyk": image.mode == "CMYK",
        "16-bit": high_bit_depth,
        "float": image.mode == "F",
        "1-bit": image.mode == "1",
        "palette": image.mode == "P",
        "exif-rotated": exif_transpose_op(image) is not None,
        "misnamed": source is not None and is_misnamed(str(image.format), source),
        "tiny": min(image.size) < TINY_SIZE,
        "extreme-aspect": max(image.size) > EXTREME_ASPECT_RATIO * min(image.size),
        "huge": image.width * image.height > HUGE_NUM_PIXELS,
        "transparent": image.mode[0] not in "IF" and is_transparent(image),  # last: it decodes the pixels
    }
    return tuple(warning for warning in WARNINGS if flags[warning])


def is_high_bit_depth(image: ImageFile) -> bool:
    """Whether a channel has more than 8 bits; Pillow cuts those of colour while decoding, so ask its decoder."""
    return image.mode.startswith("I") or any(f";16{order}" in str(tile[3]) for tile in image.tile for order in "BLN")


def is_misnamed(image_format: str, source: Path) -> bool:
    """Whether the extension promises another format than the content has."""
    expected = EXTENSIONS.get(source.suffix.lower())
    return expected not in (None, FORMAT_ALIASES.get(image_format, image_format))


def is_transparent(image: ImageFile) -> bool:
    """Whether any pixel lets the ground through; many pictures carry an alpha channel that is opaque all over."""
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255)
