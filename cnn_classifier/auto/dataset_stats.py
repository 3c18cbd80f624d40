"""Dataset statistics that are available before decoding: the number of training images and their size."""

import statistics
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cnn_classifier.data.checks.image_info import read_image_info
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.parallel import NUM_CORES, training_slices
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import remaining_val_fraction
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.training.distributed import get_world_size

MAX_SAMPLED_IMAGES, MAX_DECODED_IMAGES = 100, 32
SAMPLE_PREPROCESS = Preprocess(image_size=128, channels=3, resize="stretch", mean=(0.0,), std=(1.0,))
DEFAULT_IMAGE_SIZE = 128  # if none of the sampled images can be read


@dataclass(frozen=True)
class DatasetStats:
    """Statistics of the dataset that are known before images are decoded.

    Args:
        num_images: The estimated number of training images.
        median_size: The median of the shorter sides of the images, in pixels.
        num_held_out: The estimated number of validation and test images.
        prepare_seconds: The estimated duration of checking and decoding all images.
    """

    num_images: int
    median_size: int
    num_held_out: int = 0
    prepare_seconds: float = 0.0

    @property
    def split_sizes(self) -> dict[str, int]:
        """The number of images of the splits, as if there were no validation."""
        return {"train": self.num_images, "test": self.num_held_out}

    @property
    def approximate_count(self) -> str:
        """The number of training images to two digits, since the split is computed later and may differ slightly."""
        return f"{float(f'{self.num_images:.2g}'):,.0f}"


def compute_stats(config: Mapping[str, Any], index: DatasetIndex) -> DatasetStats:
    """Compute the statistics of a dataset.

    Args:
        config: The configuration as plain values.
        index: The dataset.
    """
    train_size = estimate_train_size(config, index)
    num_held_out = max(0, len(index.samples) - train_size)
    return DatasetStats(train_size, median_image_size(index), num_held_out, estimate_prepare_seconds(index))


def estimate_prepare_seconds(index: DatasetIndex) -> float:
    """Estimate the duration of checking and decoding all images from some of them, as if none were cached."""
    samples = index.samples[:: max(1, len(index.samples) // MAX_DECODED_IMAGES)]
    start_time = time.perf_counter()
    for sample in samples:
        read_image_info(sample.path, preprocess=SAMPLE_PREPROCESS)
    seconds_per_image = (time.perf_counter() - start_time) / max(len(samples), 1)
    return len(index.samples) * seconds_per_image / NUM_CORES


def estimate_train_size(config: Mapping[str, Any], index: DatasetIndex) -> int:
    """Estimate the number of training images that `split_samples` returns.

    The result is exact up to the rounding per class, groups and unreadable files. Computing the split itself would take
    0.2 s for 10,000 images.

    Args:
        config: The configuration as plain values.
        index: The dataset.
    """
    options = config["dataset"]
    class_counts = Counter((sample.split, sample.label) for sample in index.samples)
    split_counts: Counter[str] = Counter()
    for (split, _), num_images in class_counts.items():
        split_counts[split or "train"] += min(num_images, options["max_per_class"] or num_images)
    train_size = float(split_counts["train"])
    if options["folds"]:
        held_out = "val" if split_counts["test"] else "test"
        train_size = (train_size + split_counts[held_out]) * (1 - 1 / options["folds"])
        split_counts[held_out] = 1
    has_test = bool(split_counts["test"])
    train_size *= 1 if has_test else 1 - options["test_fraction"]
    if not split_counts["val"]:
        train_size *= 1 - remaining_val_fraction(options["val_fraction"], options["test_fraction"], has_test=has_test)
    return max(1, round(train_size))


def expects_val_images(dataset: DatasetConfig, index: DatasetIndex) -> bool:
    """Return whether there are images for the validation, unless all classes have too few.

    Args:
        dataset: The split.
        index: The dataset.
    """
    given = {sample.split for sample in index.samples}
    holds_out_val = dataset.folds and "test" in given
    return bool(dataset.split_file or dataset.val_fraction or "val" in given or holds_out_val)


def estimate_batches(config: Mapping[str, Any], num_images: int) -> int:
    """Return the number of batches per epoch and process, which limits of the `Trainer` can reduce.

    Args:
        config: The configuration as plain values, with a resolved batch size.
        num_images: The number of training images.
    """
    trainer = config["trainer"]
    count = len(training_slices(num_images, config["dataset"]["batch_size"], get_world_size()))
    for limit in (trainer["limit_train_batches"], trainer["overfit_batches"], int(trainer["fast_dev_run"])):
        if limit:
            count = int(count * limit) if isinstance(limit, float) else min(count, limit)
    return max(count, 1)


def median_image_size(index: DatasetIndex) -> int:
    """Return the median shorter side of up to about 100 evenly sampled images, in pixels."""
    sizes = []
    for sample in index.samples[:: max(1, len(index.samples) // MAX_SAMPLED_IMAGES)]:
        with suppress(UnreadableImageError), open_image(sample.path) as image:
            sizes.append(min(image.size))
    return int(statistics.median(sizes)) if sizes else DEFAULT_IMAGE_SIZE
