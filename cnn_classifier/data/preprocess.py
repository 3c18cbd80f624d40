"""The one way from an image file to the pixels a network sees: train, evaluate and predict all come through here."""

import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from cnn_classifier.data.modes import apply_exif_orientation, cmyk_to_rgb, flatten_alpha, to_uint8
from cnn_classifier.data.reasons import DECODER_ERRORS, MAX_PIXELS, TOO_LARGE, describe_decode_error, read_head
from cnn_classifier.data.rescue import is_heic, load_tolerantly, open_heic
from cnn_classifier.errors import UnreadableImageError

Pixels = npt.NDArray[np.uint8]

# Pillow sniffs the content, not the name; formats outside this list (EPS runs Ghostscript) are never tried.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
# What is looked for in a folder, and the format that such a name promises.
EXTENSIONS = (
    dict.fromkeys([".jpg", ".jpeg", ".jpe", ".jfif"], "JPEG")
    | dict.fromkeys([".tif", ".tiff"], "TIFF")
    | dict.fromkeys([".ppm", ".pgm", ".pbm"], "PPM")
    | dict.fromkeys([".heic", ".heif"], "HEIF")
    | {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".gif": "GIF", ".avif": "AVIF", ".jp2": "JPEG2000"}
)
# Large enough for the thumbnails that tell copies, so that these do not depend on the image size of a run.
MIN_DRAFT_SIZE = 1024
RESIZE_POLICIES = ("squash", "crop", "pad")
# Pillow's remarks on EXIF data and sizes; we have words of our own for both. As `warnings.filters` holds it.
PIL_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Plain data that travels inside every checkpoint.

    Args:
        image_size: Side in pixels of the square result.
        channels: 3 for RGB, 1 for grey.
        resize: `squash` ignores the aspect ratio, `crop` keeps the centre, `pad` adds black bars.
        mean: Subtracted from pixels in [0, 1], one value a channel.
        std: What the rest is divided by, one value a channel.
    """

    image_size: int
    channels: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Numbers, strings and lists only, so that a checkpoint stays plain data."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """The inverse of `as_dict`."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})

    def load(self, source: Path | str | Image.Image | npt.NDArray[Any]) -> Pixels:
        """Decode, orient, convert and resize one image.

        Args:
            source: A file, a Pillow image, or an array of uint8 (H, W), (H, W, 3) or (H, W, 4).

        Returns:
            uint8 (image_size, image_size, channels)

        Raises:
            UnreadableImageError: If it cannot be decoded.
        """
        return self.resize_image(decode(source, self.channels, min_size=self.image_size))

    def resize_image(self, image: Image.Image) -> Pixels:
        """The final pixels of an upright picture in RGB or grey."""
        size = (self.image_size, self.image_size)
        if self.resize == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        elif self.resize == "pad":
            image = ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8).reshape(*size, self.channels)


def decode(
    source: Path | str | Image.Image | npt.NDArray[Any], channels: int, *, min_size: int = MIN_DRAFT_SIZE
) -> Image.Image:
    """The upright image in RGB or grey, at its own size; a large JPEG at a half, a quarter or an eighth of it.

    Args:
        source: As for `Preprocess.load`.
        channels: 3 for RGB, 1 for grey.
        least: Neither side of a large JPEG is made smaller than this, nor than 1,024 pixels.

    Raises:
        UnreadableImageError: If it cannot be decoded.
    """
    if isinstance(source, np.ndarray):
        return to_rgb_or_gray(from_array(source), channels)
    if isinstance(source, Image.Image):
        return to_rgb_or_gray(source, channels)
    with open_image(source) as image:
        return convert_image(image, channels, min_size=min_size)


def convert_image(image: ImageFile, channels: int, *, min_size: int) -> Image.Image:
    """As `decode`, for an image that is open."""
    # JPEG decoders reduce by powers of two for next to nothing: a photo of 12 megapixels takes a third of the time.
    image.draft(None, (max(min_size, MIN_DRAFT_SIZE),) * 2)
    return to_rgb_or_gray(image, channels)


@contextmanager
def open_image(source: Path | str | BinaryIO) -> Iterator[ImageFile]:
    """The image as Pillow opens it: the header is read and its size is sane, the pixels are not decoded yet.

    Whatever a decoder raises inside the block comes out as UnreadableImageError; so keep only decoding there.

    Args:
        source: A file, or a seekable stream of its bytes.

    Raises:
        UnreadableImageError: If it cannot be decoded.
    """
    if PIL_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=PIL_WARNINGS[3].pattern)
    try:
        with open_image_file(source) as image:
            if not 0 < image.width * image.height <= MAX_PIXELS:
                raise UnreadableImageError(TOO_LARGE if image.width * image.height else "it has no pixels")
            yield image
    except DECODER_ERRORS as error:
        raise UnreadableImageError(describe_decode_error(error, source)) from error


def open_image_file(source: Path | str | BinaryIO) -> ImageFile:
    if isinstance(source, Path | str) and is_special(source):
        raise UnreadableImageError("no file, but a folder, a pipe, a socket or a device")
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if is_heic(read_head(source)):
            return open_heic(source)
        raise


def is_special(path: Path | str) -> bool:
    """Whether it is no regular file: to read a pipe or a device may never end. What cannot be looked at is none."""
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False


def from_array(array: npt.NDArray[Any]) -> Image.Image:
    """A Pillow image of a uint8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    pixels = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if (
        pixels.dtype != np.uint8
        or not pixels.size
        or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4)))
    ):
        raise UnreadableImageError(
            f"an array of {array.dtype} {array.shape} is no image; expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    return Image.fromarray(pixels)


def to_rgb_or_gray(image: Image.Image, channels: int) -> Image.Image:
    """Decode, turn upright, lay transparency on white, and bring every mode to RGB or grey of 8 bits."""
    image = apply_exif_orientation(load_tolerantly(image))
    if image.mode == "F" or image.mode.startswith("I"):
        image = to_uint8(image)
    if image.mode == "CMYK":
        image = cmyk_to_rgb(image)
    if image.has_transparency_data:
        image = flatten_alpha(image)
    return image.convert("RGB" if channels == 3 else "L")
