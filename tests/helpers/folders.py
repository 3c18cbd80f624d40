"""What every test stands on: a cache of its own, and folders of pictures made in sight."""

from collections.abc import Callable
from pathlib import Path

MakeFolder = Callable[..., Path]
# Words for a network that trains in a second.
TINY = ["model=cnn", "dataset.image_size=16", "model.widths=[4]", "model.hidden_dim=4", "trainer=cpu"]
# Far apart and of one brightness each, so that a network learns them in a moment and a test can tell them apart.
COLOURS = [(200, 40, 40), (40, 60, 200), (60, 190, 60), (210, 200, 50), (150, 60, 190), (70, 200, 200)]
