"""Position and opacity of heat-map overlays."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.report.charts.heatmap_overlay import colorize, create_overlay

CORNER = np.array([[1, 0], [0, 0]], np.float32)


@pytest.mark.parametrize(
    ("resize", "position"),
    [("stretch", (0, 0, 128, 64)), ("crop", (32, 0, 64, 64)), ("pad", (0, -32, 128, 128))],
)
def test_overlay_covers_the_network_input(resize: str, position: tuple[float, ...]) -> None:
    overlay = create_overlay(CORNER, width=128, height=64, resize=resize)
    assert (overlay.x, overlay.y, overlay.width, overlay.height) == position


def test_opacity_follows_the_heat_map() -> None:
    data_uri = colorize(CORNER)
    image = Image.open(io.BytesIO(base64.b64decode(data_uri.removeprefix("data:image/png;base64,"))))
    opacity = np.asarray(image)[..., 3]
    assert opacity[0, 0] > 120
    assert opacity[-1, -1] == 0
    assert len(data_uri) < 3000
