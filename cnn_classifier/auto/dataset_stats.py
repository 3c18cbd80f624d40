"""What a scan tells of the images before any is decoded: how many there will be, and how large they are."""

import statistics
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import UnreadableImageError

SAMPLED_IMAGES = 100
DEFAULT_IMAGE_SIZE = 128  # where none of the samples can be read


def estimate_train_size(config: Mapping[str, Any], scan: DatasetIndex) -> int:
    """About how many images there will be to train on, as `split_samples` divides them.

    Args:
        values: The plain configuration.
        scan: What the folder holds.
    """
    options = config["dataset"]
    class_counts = Counter((sample.split, sample.label) for sample in scan.samples)
    split_counts: Counter[str] = Counter()
    for (split, _), num_images in class_counts.items():
        split_counts[split or "train"] += min(num_images, options["max_per_class"] or num_images)
    train_size = float(split_counts["train"])
    if options["folds"]:
        held_out = "val" if split_counts["test"] else "test"
        train_size = (train_size + split_counts[held_out]) * (1 - 1 / options["folds"])
        split_counts[held_out] = 1
    val_fraction = options["val_fraction"] / (1 if split_counts["test"] else 1 - options["test_fraction"])
    train_size *= 1 if split_counts["test"] else 1 - options["test_fraction"]
    train_size *= 1 if split_counts["val"] else 1 - val_fraction
    return max(1, round(train_size))


def median_image_size(scan: DatasetIndex) -> int:
    """The median of the shorter sides of some images, in pixels."""
    sizes = []
    for sample in scan.samples[:: max(1, len(scan.samples) // SAMPLED_IMAGES)]:
        with suppress(UnreadableImageError), open_image(sample.path) as image:
            sizes.append(min(image.size))
    return int(statistics.median(sizes)) if sizes else DEFAULT_IMAGE_SIZE
