"""A heat map as a picture that lies over another: small, and transparent where nothing mattered."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

HEATMAP_SIZE = 24  # pixels; the browser makes it as large and smooth as the picture below
LOW_COLOR, HIGH_COLOR = np.array([255, 196, 60]), np.array([226, 30, 60])  # red, green, blue
MAX_OPACITY = 0.6


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """Where a heat map lies over a picture, in the picture's pixels.

    Args:
        address: The heat map, as a `data:` address.
        x: Its left edge.
        y: Its upper edge.
        width: As it is shown.
        height: As it is shown.
    """

    data_uri: str
    x: float
    y: float
    width: float
    height: float


def create_overlay(heatmap: npt.NDArray[np.float32], *, width: int, height: int, resize: str) -> Overlay:
    """Lay a heat map of what the network saw over the whole picture.

    Args:
        heat: (h, w) from 0 to 1.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        resize: How the picture became the network's square: `stretch`, `crop` or `pad`.
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
    """A heat map as a PNG with transparency, as a `data:` address."""
    gray = Image.fromarray((heatmap * 255).astype(np.uint8)).resize(
        (HEATMAP_SIZE, HEATMAP_SIZE), Image.Resampling.BICUBIC
    )
    values = np.asarray(gray, np.float32)[..., None] / 255
    colors = LOW_COLOR + (HIGH_COLOR - LOW_COLOR) * values
    pixels = np.concatenate([colors, 255 * MAX_OPACITY * values], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
