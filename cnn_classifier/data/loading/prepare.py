"""Check, split and decode the images of a dataset."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.checks.check import CheckResult, find_duplicates, inspect_files
from cnn_classifier.data.checks.summary import summarize
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.image_store import ImageStore, StreamedImages
from cnn_classifier.data.loading.loader import BatchLoader
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.parallel import batch_slices
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.listing import expand_image_paths
from cnn_classifier.data.splits.coverage import leave_out_untrained_classes
from cnn_classifier.data.splits.groups import linked_duplicates
from cnn_classifier.data.splits.split import Splits, limit_per_class, split_samples
from cnn_classifier.data.splits.split_csv import read_split
from cnn_classifier.errors import DataError

# On larger datasets, this many evenly spaced images give mean and standard deviation to three digits.
MAX_MEASURED_IMAGES = 10_000


@dataclass(frozen=True)
class PreparedDataset:
    """A dataset that is ready to train on.

    Args:
        summary: The result of the data check, see `summarize`.
        splits: The readable samples of train, val and test.
        store: The pixels of the samples.
        preprocess: The preprocessing; mean and standard deviation as configured, or as measured on the train split.
        digests: The SHA-256 digest of each file; empty for map-style datasets.
    """

    summary: dict[str, Any]
    splits: Splits
    store: ImageStore
    preprocess: Preprocess
    digests: Mapping[Path, str] = field(default_factory=dict)


def prepare_images(
    index: DatasetIndex, config: DatasetConfig, seed: int, *, given_splits: Splits | None = None
) -> PreparedDataset:
    """Check, split and decode the images of a dataset.

    Args:
        index: The files and their classes.
        config: The split, preprocessing and cache.
        seed: The seed of the split.
        given_splits: The split, if it is decided already; that of `config.split_file` if it names one.

    Raises:
        DataError: If too many images cannot be read, or no split is possible.
        StorageError: If `cache` is `disk` and its folder cannot be written.
    """
    if given_splits is None and config.split_file:
        given_splits = read_split(Path(config.split_file).expanduser(), index)
    given_samples = [sample for samples in given_splits.values() for sample in samples] if given_splits else None
    capacity = len(given_samples or limit_per_class(index, config.max_per_class, seed))
    with PixelCacheWriter(
        config.preprocess, capacity=capacity, cache=config.cache, cache_limit_gb=config.cache_limit_gb
    ) as cache_writer:
        check_result = CheckResult()
        while True:  # until a readable image replaces every unreadable one
            unreadable = check_result.unreadable
            samples = given_samples or limit_per_class(index, config.max_per_class, seed, exclude=unreadable)
            new_paths = [sample.path for sample in samples if sample.path not in check_result.digests]
            if not new_paths:
                break
            check_result |= inspect_files(new_paths, cache_writer)
            check_unreadable(check_result, config)
        readable = [sample for sample in samples if sample.path not in unreadable]
        duplicate_groups = find_duplicates(check_result, (sample.path for sample in readable))
        if given_splits is None:
            linked = linked_duplicates(duplicate_groups, readable)
            given_splits = split_samples(replace(index, samples=readable), config, seed, linked=linked)
        splits = {name: [s for s in members if s.path not in unreadable] for name, members in given_splits.items()}
        splits, notes = leave_out_untrained_classes(splits, index.class_names)
        train_paths = [sample.path for sample in splits["train"]]
        config = replace(config, value_range=config.value_range or check_result.measure_value_range(train_paths))
        digests = {sample.path: check_result.digests[sample.path] for sample in readable}
        store = cache_writer.finalize(digests, config.preprocess)
    preprocess = measure_mean_std(config, store, train_paths)
    checked = given_samples or [sample for sample in index.samples if sample.path in check_result.digests]
    index = replace(index, samples=checked, notes=[*index.notes, *notes])
    summary = summarize(index, check_result, duplicate_groups, value_range=preprocess.value_range)
    summary["fingerprint"] = compute_fingerprint(digests.values())
    return PreparedDataset(summary, splits, store, preprocess, check_result.digests)


def prepare_folder(folder: str | Path, preprocess: Preprocess, *, batch_size: int) -> BatchLoader:
    """Build a loader of all images below a folder, in the order of their paths, with label 0.

    Raises:
        DataError: If the folder has no images.
    """
    paths = expand_image_paths([str(folder)])
    store = StreamedImages(paths, preprocess)
    return BatchLoader(store, store.get_rows(paths), np.zeros(len(paths), np.int64), batch_size=batch_size)


def compute_fingerprint(digests: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted digests of a set of files."""
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def check_unreadable(check_result: CheckResult, config: DatasetConfig) -> None:
    """Raise DataError if more images are unreadable than the configuration allows."""
    unreadable, total = check_result.unreadable, len(check_result.digests)
    if not unreadable:
        return
    path, reason = next(iter(unreadable.items()))
    if len(unreadable) == total:
        raise DataError(f"none of the {total} images can be read; the first is {path}: {reason}")
    if config.on_unreadable == "error":
        raise DataError(
            f"{path} cannot be read ({reason}), and so {len(unreadable)} of {total} images; "
            "mend or remove them, or leave them out with dataset.on_unreadable=skip"
        )
    if len(unreadable) > config.max_unreadable * total:
        raise DataError(
            f"{len(unreadable)} of {total} images ({len(unreadable) / total:.1%}) cannot be read, such as {path}: "
            f"{reason}; expected at most {config.max_unreadable:.0%} (dataset.max_unreadable); "
            "`cnn-classifier data check` lists them all"
        )


def measure_mean_std(config: DatasetConfig, store: ImageStore, paths: list[Path]) -> Preprocess:
    """Return the preprocessing, with mean and standard deviation measured on these files if not configured."""
    if config.mean is not None and config.std is not None:
        return config.preprocess
    rows = np.sort(store.get_rows(paths[:: max(1, len(paths) // MAX_MEASURED_IMAGES)]))
    counts = np.zeros((config.channels, 256), np.int64)
    for pixels in store.iter_batches(rows[batch] for batch in batch_slices(len(rows), 256)):
        for channel in range(config.channels):
            counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = (counts @ values) / counts.sum(axis=1)
    variance = (counts @ values**2) / counts.sum(axis=1) - mean**2
    std = np.sqrt(variance.clip(1 / 255**2))  # never zero, even for a constant channel
    preprocess = config.preprocess
    if config.mean is None:
        preprocess = replace(preprocess, mean=tuple(mean.round(4).tolist()))
    if config.std is None:
        preprocess = replace(preprocess, std=tuple(std.round(4).tolist()))
    return preprocess
