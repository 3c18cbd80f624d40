"""The one way from an image file to the pixels a network sees: train, evaluate and predict all come through here."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile

from cnn_classifier.data.images.color_modes import apply_exif_orientation, cmyk_to_rgb, flatten_alpha, to_uint8
from cnn_classifier.data.images.decode import MIN_DRAFT_SIZE, load_tolerantly, open_image
from cnn_classifier.errors import UnreadableImageError

Pixels = npt.NDArray[np.uint8]
RESIZE_POLICIES = ("stretch", "crop", "pad")


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Plain data that travels inside every checkpoint.

    Args:
        image_size: Side in pixels of the square result.
        channels: 3 for RGB, 1 for grey.
        resize: `stretch` ignores the aspect ratio, `crop` keeps the centre, `pad` adds black bars.
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
