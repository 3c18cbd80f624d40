"""A heat map as a picture that lies over another: small, and transparent where nothing mattered."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 24  # pixels; the browser makes it as large and smooth as the picture below
FAINT, STRONG = np.array([255, 196, 60]), np.array([226, 30, 60])  # red, green, blue
MOST_OPAQUE = 0.6


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

    address: str
    x: float
    y: float
    width: float
    height: float


def overlay(heat: npt.NDArray[np.float32], *, width: int, height: int, resize: str) -> Overlay:
    """Lay a heat map of what the network saw over the whole picture.

    Args:
        heat: (h, w) from 0 to 1.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        resize: How the picture became the network's square: `squash`, `crop` or `pad`.
    """
    side = {"crop": min(width, height), "pad": max(width, height)}.get(resize)
    wide, high = (side, side) if side else (width, height)
    return Overlay(address=coloured(heat), x=(width - wide) / 2, y=(height - high) / 2, width=wide, height=high)


def coloured(heat: npt.NDArray[np.float32]) -> str:
    """A heat map as a PNG with transparency, as a `data:` address."""
    grey = Image.fromarray((heat * 255).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    values = np.asarray(grey, np.float32)[..., None] / 255
    colours = FAINT + (STRONG - FAINT) * values
    pixels = np.concatenate([colours, 255 * MOST_OPAQUE * values], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
