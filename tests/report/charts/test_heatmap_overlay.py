"""A heat map lies where the network saw what it shows."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.report.charts.heatmap_overlay import colorize, create_overlay

CORNER = np.array([[1, 0], [0, 0]], np.float32)


@pytest.mark.parametrize(
    ("resize", "place"),
    [("stretch", (0, 0, 128, 64)), ("crop", (32, 0, 64, 64)), ("pad", (0, -32, 128, 128))],
)
def test_it_covers_what_became_the_square(resize: str, place: tuple[float, ...]) -> None:
    found = create_overlay(CORNER, width=128, height=64, resize=resize)
    assert (found.x, found.y, found.width, found.height) == place


def test_it_is_strong_where_it_is_hot_and_clear_where_nothing_mattered() -> None:
    address = colorize(CORNER)
    picture = Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))
    opacity = np.asarray(picture)[..., 3]
    assert opacity[0, 0] > 120
    assert opacity[-1, -1] == 0
    assert len(address) < 3000
