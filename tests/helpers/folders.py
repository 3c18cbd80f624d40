"""Shared constants for datasets and networks that train quickly."""

from collections.abc import Callable
from pathlib import Path

MakeFolder = Callable[..., Path]
# Overrides for a network that trains in a second.
TINY = ["model=cnn", "dataset.image_size=16", "model.widths=[4]", "model.hidden_dim=4", "trainer=cpu"]
# Distinct colors of constant brightness, which a network learns quickly.
COLORS = [(200, 40, 40), (40, 60, 200), (60, 190, 60), (210, 200, 50), (150, 60, 190), (70, 200, 200)]
