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
    """About how many images there will be to train on, as `split_samples` divides them.

    Args:
        values: The plain configuration.
        scan: What the folder holds.
    """
    options = values["dataset"]
    by_class = Counter((sample.split, sample.label) for sample in scan.samples)
    found: Counter[str] = Counter()
    for (split, _), members in by_class.items():
        found[split or "train"] += min(members, options["limit_per_class"] or members)
    count = float(found["train"])
    if options["folds"]:
        held_out = "val" if found["test"] else "test"
        count = (count + found[held_out]) * (1 - 1 / options["folds"])
        found[held_out] = 1
    val_fraction = options["val_fraction"] / (1 if found["test"] else 1 - options["test_fraction"])
    count *= 1 if found["test"] else 1 - options["test_fraction"]
    count *= 1 if found["val"] else 1 - val_fraction
    return max(1, round(count))


def typical_side(scan: Scan) -> int:
    """The median of the shorter sides of some images, in pixels."""
    sides = []
    for sample in scan.samples[:: max(1, len(scan.samples) // SAMPLED_IMAGES)]:
        with suppress(UnreadableImageError), opened(sample.path) as image:
            sides.append(min(image.size))
    return int(statistics.median(sides)) if sides else UNKNOWN_SIDE
