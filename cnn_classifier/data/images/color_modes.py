"""Bring whatever Pillow opened to an upright picture of 8 bits a channel, in RGB or grey."""

from io import BytesIO

import numpy as np
from PIL import ExifTags, Image, ImageCms

from cnn_classifier.data.images.decode_errors import DECODER_ERRORS

# Values of the EXIF tag Orientation (Exif 3.0, 4.6.5.1.6): what turns such a picture upright.
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
    """What would turn the image upright; None if it is, or if its EXIF data cannot be read."""
    try:
        return EXIF_TRANSPOSE_OPS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        return None


def apply_exif_orientation(image: Image.Image) -> Image.Image:
    """A loaded image as the camera was held."""
    transpose_op = exif_transpose_op(image)
    return image if transpose_op is None else image.transpose(transpose_op)


def oriented_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) that an opened image will have once it is upright."""
    is_swapped = (
        exif_transpose_op(image) in AXIS_SWAPPING_OPS and image.format != "TIFF"
    )  # there, Pillow tells the upright size itself
    return image.size[::-1] if is_swapped else image.size


def to_uint8(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or floats in [0, 1], as 8 bits; Pillow's own conversion clips, to all white or black."""
    pixels = np.asarray(image)
    if image.mode == "F":
        pixels = np.nan_to_num(pixels, nan=0, posinf=0, neginf=0).clip(0, 255)
        pixels = pixels * (255 if pixels.max() <= 1 else 1)
    elif image.mode.startswith("I;16") or pixels.max() > 255:
        pixels = pixels >> 8
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def flatten_alpha(image: Image.Image) -> Image.Image:
    """Without transparency: what was hidden behind it stays hidden."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """CMYK as its colour profile says it looks; without a usable one, by Pillow's plain formula."""
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
