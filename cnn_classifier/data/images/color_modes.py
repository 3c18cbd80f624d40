"""Conversion of Pillow images of any mode and orientation to upright 8-bit RGB or grayscale."""

from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

from cnn_classifier.data.images.decode_errors import DECODER_ERRORS

# The operation that makes an image upright, by value of the EXIF tag Orientation (Exif 3.0, 4.6.5.1.6).
EXIF_TRANSPOSE_OPS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
AXIS_SWAPPING_OPS = (EXIF_TRANSPOSE_OPS[5], EXIF_TRANSPOSE_OPS[6], EXIF_TRANSPOSE_OPS[7], EXIF_TRANSPOSE_OPS[8])


def exif_transpose_op(image: Image.Image) -> Image.Transpose | None:
    """Return the operation that makes an image upright; None if it is upright or its EXIF data cannot be read."""
    try:
        return EXIF_TRANSPOSE_OPS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return None


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """Return a loaded image in upright orientation."""
    transpose_op = exif_transpose_op(image)
    return image if transpose_op is None else image.transpose(transpose_op)


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """Return the upright (width, height) of an opened image."""
    is_tiff = image.format == "TIFF"  # Pillow already returns the upright size of a TIFF
    is_swapped = exif_transpose_op(image) in AXIS_SWAPPING_OPS and not is_tiff
    return image.size[::-1] if is_swapped else image.size


def to_uint8(image: Image.Image) -> Image.Image:
    """Convert 16-bit, 32-bit or floating-point grayscale to 8 bits; Pillow's own conversion clips.

    Floats are expected in [0, 1] or [0, 255].
    """
    pixels = np.asarray(image)
    if image.mode == "F":
        pixels = np.nan_to_num(pixels, nan=0, posinf=0, neginf=0).clip(0, 255)
        pixels = pixels * (255 if pixels.max() <= 1 else 1)
    elif image.mode.startswith("I;16") or pixels.max() > 255:
        pixels = pixels >> 8
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def flatten_alpha(image: Image.Image) -> Image.Image:
    """Composite an image with transparency on white, so that hidden pixels stay hidden."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert CMYK to RGB with the embedded color profile, or with Pillow's formula if there is no usable profile."""
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            outputMode="RGB",
        )
    except (KeyError, TypeError, OSError, ImageCms.PyCMSError):
        converted = None
    return converted or image.convert("RGB")
