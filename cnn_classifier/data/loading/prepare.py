"""From a scan to what a training reads: every image checked, split and decoded."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.checks.check import CheckResult, find_duplicates, inspect_files
from cnn_classifier.data.checks.summary import summarize
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.groups import linked_duplicates
from cnn_classifier.data.splits.split import Splits, check_class_coverage, limit_per_class, split_samples
from cnn_classifier.data.splits.split_csv import read_split
from cnn_classifier.errors import DataError

# Of larger sets so many images, evenly spread, tell mean and standard deviation to three digits.
MAX_MEASURED_IMAGES = 10_000


@dataclass(frozen=True)
class PreparedDataset:
    """Images that are ready to train on.

    Args:
        summary: What the check of the files found, as `summarise` gives it.
        splits: The readable samples of train, val and test.
        store: Their final pixels.
        preprocess: How these are made; mean and standard deviation as given, or as measured on train.
    """

    summary: dict[str, Any]
    splits: Splits
    store: ImageStore
    preprocess: Preprocess


def prepare_images(scan: DatasetIndex, options: DatasetConfig, seed: int) -> PreparedDataset:
    """Check, split and decode the images of a scan.

    Raises:
        DataError: If too many images cannot be read, or no split is possible.
        StorageError: If `cache` is `disk` and its folder cannot be written.
    """
    given_splits = read_split(Path(options.split_file).expanduser(), scan) if options.split_file else None
    given_samples = [sample for samples in given_splits.values() for sample in samples] if given_splits else None
    cache_writer = PixelCacheWriter(
        options.preprocess,
        capacity=len(given_samples or limit_per_class(scan, options.max_per_class, seed)),
        cache=options.cache,
        cache_limit_gb=options.cache_limit_gb,
    )
    with cache_writer:
        check_result = CheckResult()
        while True:  # until there is a readable image in place of every unreadable one
            samples = given_samples or limit_per_class(
                scan, options.max_per_class, seed, exclude=check_result.unreadable
            )
            new_paths = [sample.path for sample in samples if sample.path not in check_result.digests]
            if not new_paths:
                break
            check_result |= inspect_files(new_paths, cache_writer)
            check_unreadable(check_result, options)
        readable = [sample for sample in samples if sample.path not in check_result.unreadable]
        duplicate_groups = find_duplicates(check_result, (sample.path for sample in readable))
        splits = (
            {
                split: [sample for sample in members if sample.path not in check_result.unreadable]
                for split, members in given_splits.items()
            }
            if given_splits
            else split_samples(
                replace(scan, samples=readable), options, seed, linked=linked_duplicates(duplicate_groups, readable)
            )
        )
        check_class_coverage(splits, scan.class_names)
        store = cache_writer.finalize({sample.path: check_result.digests[sample.path] for sample in readable})
    preprocess = measure_mean_std(options, store, [sample.path for sample in splits["train"]])
    checked_samples = given_samples or [sample for sample in scan.samples if sample.path in check_result.digests]
    summary = summarize(replace(scan, samples=checked_samples), check_result, duplicate_groups)
    summary["fingerprint"] = compute_fingerprint(check_result.digests[sample.path] for sample in readable)
    return PreparedDataset(summary, splits, store, preprocess)


def compute_fingerprint(digests: Iterable[str]) -> str:
    """What names a set of images: the SHA-256 of the sorted digests of their files."""
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def check_unreadable(check_result: CheckResult, options: DatasetConfig) -> None:
    """Raise DataError if more images are unreadable than the options allow."""
    unreadable, total = check_result.unreadable, len(check_result.digests)
    if not unreadable:
        return
    path, reason = next(iter(unreadable.items()))
    if len(unreadable) == total:
        raise DataError(f"none of the {total} images can be read; the first is {path}: {reason}")
    if options.on_unreadable == "error":
        raise DataError(
            f"{path} cannot be read ({reason}), and so {len(unreadable)} of {total} images; "
            "mend or remove them, or leave them out with dataset.on_unreadable=skip"
        )
    if len(unreadable) > options.max_unreadable * total:
        raise DataError(
            f"{len(unreadable)} of {total} images ({len(unreadable) / total:.1%}) cannot be read, such as {path}: {reason}; "
            f"expected at most {options.max_unreadable:.0%} (dataset.max_unreadable); `cnn-classifier data check` lists them all"
        )


def measure_mean_std(options: DatasetConfig, store: ImageStore, paths: list[Path]) -> Preprocess:
    """The preprocessing with the mean and standard deviation of these images' pixels, where none is given."""
    if options.mean is not None and options.std is not None:
        return options.preprocess
    rows = np.sort(store.get_rows(paths[:: max(1, len(paths) // MAX_MEASURED_IMAGES)]))
    counts = np.zeros((options.channels, 256), np.int64)
    for pixels in store.iter_batches(rows[start : start + 256] for start in range(0, len(rows), 256)):
        for channel in range(options.channels):
            counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts @ values) / counts.sum(axis=1)
    variance = (counts @ values**2) / counts.sum(axis=1) - mean**2
    std = np.sqrt(variance.clip(1 / 255**2))  # a channel of one value divides by something
    preprocess = options.preprocess
    if options.mean is None:
        preprocess = replace(preprocess, mean=tuple(mean.round(4).tolist()))
    if options.std is None:
        preprocess = replace(preprocess, std=tuple(std.round(4).tolist()))
    return preprocess
