"""What a scan tells of the images before any is decoded: how many there will be, and how large they are."""

import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cnn_classifier.data.folder import Scan
from cnn_classifier.data.preprocess import opened
from cnn_classifier.errors import UnreadableImageError

SAMPLED_IMAGES = 100
UNKNOWN_SIDE = 128  # where none of the samples can be read


def train_images(values: Mapping[str, Any], scan: Scan) -> int:
    """About how many images there will be to train on."""
    options = values["dataset"]
    found = Counter(sample.split for sample in scan.samples)
    tested = 1 / options["folds"] if options["folds"] else options["test_fraction"]
    count = found["train"] or len(scan.samples) * (1 - tested)
    if not found["val"]:
        count *= 1 - options["val_fraction"]
    limit = options["limit_per_class"]
    return max(1, int(min(count, limit * len(scan.class_names)) if limit else count))


def typical_side(scan: Scan) -> int:
    """The median of the shorter sides of some images, in pixels."""
    sides = []
    for sample in scan.samples[:: max(1, len(scan.samples) // SAMPLED_IMAGES)]:
        with suppress(UnreadableImageError), opened(sample.path) as image:
            sides.append(min(image.size))
    return int(statistics.median(sides)) if sides else UNKNOWN_SIDE
