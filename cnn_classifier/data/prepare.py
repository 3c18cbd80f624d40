"""From a scan to what a training reads: every image checked, split and decoded."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.audit import Audit, find_copies, inspect_files
from cnn_classifier.data.cache import Packing
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.data.split import Splits, limited, require_every_class, split_samples, ties_of
from cnn_classifier.data.split_file import read_split
from cnn_classifier.data.store import ImageStore
from cnn_classifier.data.summary import summarise
from cnn_classifier.errors import DataError

# Of larger sets so many images, evenly spread, tell mean and standard deviation to three digits.
MEASURED_IMAGES = 10_000


@dataclass(frozen=True)
class PreparedImages:
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


def prepare(scan: Scan, options: DatasetOptions, seed: int) -> PreparedImages:
    """Check, split and decode the images of a scan.

    Raises:
        DataError: If too many images cannot be read, or no split is possible.
        StorageError: If `cache` is `disk` and its folder cannot be written.
    """
    given = read_split(Path(options.split_file).expanduser(), scan) if options.split_file else None
    chosen = [sample for samples in given.values() for sample in samples] if given else None
    packing = Packing(
        options.preprocess,
        capacity=len(chosen or limited(scan, options.limit_per_class, seed)),
        cache=options.cache,
        cache_limit_gb=options.cache_limit_gb,
    )
    with packing:
        audit = Audit()
        while True:  # until there is a readable image in place of every unreadable one
            samples = chosen or limited(scan, options.limit_per_class, seed, leave_out=audit.bad)
            new = [sample.path for sample in samples if sample.path not in audit.digests]
            if not new:
                break
            audit |= inspect_files(new, packing)
            require_readable(audit, options)
        good = [sample for sample in samples if sample.path not in audit.bad]
        copies = find_copies(audit, (sample.path for sample in good))
        splits = (
            {split: [sample for sample in members if sample.path not in audit.bad] for split, members in given.items()}
            if given
            else split_samples(replace(scan, samples=good), options, seed, ties=ties_of(copies, good))
        )
        require_every_class(splits, scan.class_names)
        store = packing.finish({sample.path: audit.digests[sample.path] for sample in good})
    preprocess = measured(options, store, [sample.path for sample in splits["train"]])
    checked = chosen or [sample for sample in scan.samples if sample.path in audit.digests]
    summary = summarise(replace(scan, samples=checked), audit, copies)
    summary["fingerprint"] = fingerprint(audit.digests[sample.path] for sample in good)
    return PreparedImages(summary, splits, store, preprocess)


def fingerprint(digests: Iterable[str]) -> str:
    """What names a set of images: the SHA-256 of the sorted digests of their files."""
    return hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()


def require_readable(audit: Audit, options: DatasetOptions) -> None:
    """Raise DataError if more images are unreadable than the options allow."""
    bad, total = audit.bad, len(audit.digests)
    if not bad:
        return
    path, reason = next(iter(bad.items()))
    if len(bad) == total:
        raise DataError(f"none of the {total} images can be read; the first is {path}: {reason}")
    if options.on_bad == "error":
        raise DataError(
            f"{path} cannot be read ({reason}), and so {len(bad)} of {total} images; "
            "mend or remove them, or leave them out with dataset.on_bad=skip"
        )
    if len(bad) > options.bad_limit * total:
        raise DataError(
            f"{len(bad)} of {total} images ({len(bad) / total:.1%}) cannot be read, such as {path}: {reason}; "
            f"expected at most {options.bad_limit:.0%} (dataset.bad_limit); `cnn-classifier data check` lists them all"
        )


def measured(options: DatasetOptions, store: ImageStore, paths: list[Path]) -> Preprocess:
    """The preprocessing with the mean and standard deviation of these images' pixels, where none is given."""
    if options.mean is not None and options.std is not None:
        return options.preprocess
    rows = np.sort(store.rows(paths[:: max(1, len(paths) // MEASURED_IMAGES)]))
    counts = np.zeros((options.channels, 256), np.int64)
    for pixels in store.batches(rows[start : start + 256] for start in range(0, len(rows), 256)):
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
