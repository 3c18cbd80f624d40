"""Preprocessing of images, from a file to the uint8 pixels of the model input; used in training and inference."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from cnn_classifier.data.images.color_modes import apply_exif_orientation, cmyk_to_rgb, flatten_alpha, to_uint8
from cnn_classifier.data.images.decode import MIN_DRAFT_SIZE, load_tolerantly, open_image
from cnn_classifier.data.images.wide import ValueRange, WideImage, read_wide
from cnn_classifier.errors import UnreadableImageError

Pixels = npt.NDArray[np.uint8]
ImageSource = Path | str | bytes | Image.Image | npt.NDArray[Any]
RESIZE_POLICIES = ("stretch", "crop", "pad")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """The preprocessing parameters, which are stored as plain data in every checkpoint.

    Args:
        image_size: The height and width of the result in pixels.
        channels: The number of channels: 3 for RGB, 1 for grayscale.
        resize: The resize policy: `stretch` ignores the aspect ratio, `crop` keeps the center, `pad` adds black bars.
        mean: The mean that is subtracted from pixels in [0, 1], one value per channel.
        std: The standard deviation that pixels are divided by, one value per channel.
        value_range: The values that become 0 and 255 in images with more than 8 bits per channel, the range of the
            training images. None, as in checkpoints of earlier versions and of 8-bit data, divides 16 bits by 256,
            expects floats in [0, 1] or [0, 255], and refuses arrays of other types than uint8.
    """

    image_size: int
    channels: int
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: ValueRange | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain data for a checkpoint: numbers, strings and lists."""
        values = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        value_range = values.pop("value_range")  # absent for 8-bit data, as in earlier versions
        return values | ({} if value_range is None else {"value_range": list(value_range)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocess":
        """Return the `Preprocess` of a dict from `to_dict`."""
        value_range = values.get("value_range")
        tuples = {"mean": tuple(values["mean"]), "std": tuple(values["std"])}
        return cls(**{**values, **tuples, "value_range": None if value_range is None else tuple(value_range)})

    def load(self, source: ImageSource) -> Pixels:
        """Decode, orient, convert and resize one image.

        Args:
            source: A path, the bytes of a file, a Pillow image, or a uint8 array, shape (H, W), (H, W, 3) or (H, W, 4);
                with a `value_range`, also an array of other integers or floats, shape (H, W) or (H, W, 3).

        Returns:
            uint8 array, shape (image_size, image_size, channels).

        Raises:
            UnreadableImageError: If the image cannot be decoded.
        """
        image = decode(source, self.channels, min_size=self.image_size, value_range=self.value_range)
        return self.resize_image(image)

    def resize_image(self, image: Image.Image) -> Pixels:
        """Resize an upright RGB or grayscale image.

        Args:
            image: The image, with the mode of `channels`.

        Returns:
            uint8 array, shape (image_size, image_size, channels).
        """
        size = (self.image_size, self.image_size)
        if self.resize == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BILINEAR)
        elif self.resize == "pad":
            image = ImageOps.pad(image, size, Image.Resampling.BILINEAR)
        else:
            image = image.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.uint8).reshape(*size, self.channels)


def decode(
    source: ImageSource, channels: int, *, min_size: int = MIN_DRAFT_SIZE, value_range: ValueRange | None = None
) -> Image.Image:
    """Decode an image to upright RGB or grayscale at its own size; large JPEGs are decoded at 1/2, 1/4 or 1/8 of it.

    Args:
        source: The image, as for `Preprocess.load`.
        channels: The number of channels: 3 for RGB, 1 for grayscale.
        min_size: The minimum width and height in pixels of a reduced JPEG; at least `MIN_DRAFT_SIZE` is used.
        value_range: As for `Preprocess`.

    Raises:
        UnreadableImageError: If the image cannot be decoded.
    """
    if isinstance(source, np.ndarray):
        return to_rgb_or_gray(from_array(source, value_range), channels)
    if isinstance(source, Image.Image):
        return to_rgb_or_gray(source, channels, value_range)
    with open_image(BytesIO(source) if isinstance(source, bytes) else source) as image:
        return convert_image(image, channels, min_size=min_size, value_range=value_range)


def convert_image(
    image: ImageFile, channels: int, *, min_size: int, value_range: ValueRange | None = None
) -> Image.Image:
    """Convert an open image file, as `decode` does."""
    # JPEG decoders can reduce by powers of two, which cuts the decoding time of a 12-megapixel photo to a third.
    image.draft(None, (max(min_size, MIN_DRAFT_SIZE),) * 2)
    return to_rgb_or_gray(image, channels, value_range)


def from_array(array: npt.NDArray[Any], value_range: ValueRange | None = None) -> Image.Image:
    """Return a Pillow image of an array, as for `Preprocess.load`."""
    pixels = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if value_range is not None and is_wide_array(pixels):
        return WideImage(pixels).to_uint8(value_range)
    if (
        pixels.dtype != np.uint8
        or not pixels.size
        or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] in (3, 4)))
    ):
        raise UnreadableImageError(
            f"unsupported array {array.dtype} {array.shape}; expected uint8 (H, W), (H, W, 3) or (H, W, 4)"
        )
    return Image.fromarray(pixels)


def is_wide_array(array: npt.NDArray[Any]) -> bool:
    """Return whether an array, shape (H, W) or (H, W, 3), has numbers of more than 8 bits."""
    is_image = array.size > 0 and (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3))
    return is_image and array.dtype.kind in "iuf" and array.dtype != np.uint8


def to_rgb_or_gray(image: Image.Image, channels: int, value_range: ValueRange | None = None) -> Image.Image:
    """Decode, orient, composite transparency on white, and convert any mode to 8-bit RGB or grayscale."""
    if value_range is not None and (wide := read_wide(image)) is not None:
        return flatten(wide.to_uint8(value_range), channels)
    image = apply_exif_orientation(load_tolerantly(image))
    if image.mode == "F" or image.mode.startswith("I"):
        image = to_uint8(image)
    return flatten(image, channels)


def flatten(image: Image.Image, channels: int) -> Image.Image:
    """Composite transparency of an upright 8-bit image on white, and convert it to RGB or grayscale."""
    if image.mode == "CMYK":
        image = cmyk_to_rgb(image)
    if image.has_transparency_data:
        image = flatten_alpha(image)
    return image.convert("RGB" if channels == 3 else "L")
