"""Heat maps as small, partly transparent PNG overlays for HTML pages."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

HEATMAP_SIZE = 24  # pixels; the browser scales it to the size of the image
LOW_COLOR, HIGH_COLOR = np.array([255, 196, 60]), np.array([226, 30, 60])  # RGB
MAX_OPACITY = 0.6


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A heat map with its position on an image, in pixels of the image.

    Args:
        data_uri: The heat map as a `data:` URI.
        x: The left edge of the heat map.
        y: The top edge of the heat map.
        width: The width of the heat map.
        height: The height of the heat map.
    """

    data_uri: str
    x: float
    y: float
    width: float
    height: float


def create_overlay(heatmap: npt.NDArray[np.float32], *, width: int, height: int, resize: str) -> Overlay:
    """Align a heat map of the network input with the original image.

    Args:
        heatmap: The heat map with values from 0 to 1, shape (h, w).
        width: The width of the image in pixels.
        height: The height of the image in pixels.
        resize: The resize mode that produced the square network input: `stretch`, `crop` or `pad`.
    """
    side = {"crop": min(width, height), "pad": max(width, height)}.get(resize)
    shown_width, shown_height = (side, side) if side else (width, height)
    return Overlay(
        data_uri=colorize(heatmap),
        x=(width - shown_width) / 2,
        y=(height - shown_height) / 2,
        width=shown_width,
        height=shown_height,
    )


def colorize(heatmap: npt.NDArray[np.float32]) -> str:
    """Return a heat map (h, w) as a PNG with an alpha channel, encoded as a `data:` URI."""
    gray = Image.fromarray((heatmap * 255).astype(np.uint8)).resize(
        (HEATMAP_SIZE, HEATMAP_SIZE), Image.Resampling.BICUBIC
    )
    values = np.asarray(gray, np.float32)[..., None] / 255
    colors = LOW_COLOR + (HIGH_COLOR - LOW_COLOR) * values
    pixels = np.concatenate([colors, 255 * MAX_OPACITY * values], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
