"""Assign images to train, val and test: stratified, seeded, copies and groups kept together."""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.groups import collect_groups, merge_linked
from cnn_classifier.errors import DataError

Splits = dict[str, list[Sample]]


def split_samples(
    scan: DatasetIndex, options: DatasetConfig, seed: int, linked: Iterable[Collection[Path]] = ()
) -> Splits:
    """The samples of train, val and test.

    Splits that came as folders stay as they are. What has no folder is taken from the training images, class by
    class. With `folds`, part number `fold` becomes the test split, or the validation split where a test folder exists.

    Args:
        scan: The images; all of them are used.
        options: The fractions, or the fold.
        seed: Together with the files' names below the scanned folder it decides who goes where.
        ties: Files that must not be torn apart, such as copies of one picture; samples of one group never are.

    Raises:
        DataError: If a class has too few images to be in every split.
    """
    samples = sorted(scan.samples, key=shuffle_key(scan.root, seed))
    splits: Splits = {
        "train": [sample for sample in samples if sample.split in (None, "train")],
        "val": [sample for sample in samples if sample.split == "val"],
        "test": [sample for sample in samples if sample.split == "test"],
    }
    linked = [*linked, *collect_groups(samples)]
    if options.folds:
        held_out = "val" if splits["test"] else "test"
        pool = merge_linked((sample for sample in samples if sample.split in (None, "train", held_out)), linked)
        splits["train"], splits[held_out] = split_fold(pool, options.folds, options.fold)
    # Fractions are of all images: validation must not shrink because the test split was taken first.
    val_fraction = options.val_fraction / (1 if splits["test"] else 1 - options.test_fraction)
    if not splits["test"]:
        splits["train"], splits["test"] = split_fraction(merge_linked(splits["train"], linked), options.test_fraction)
    if not splits["val"]:
        splits["train"], splits["val"] = split_fraction(merge_linked(splits["train"], linked), val_fraction)
    check_class_coverage(splits, scan.class_names)
    return splits


def limit_per_class(
    scan: DatasetIndex, max_per_class: int | None, seed: int, exclude: Container[Path] = ()
) -> list[Sample]:
    """At most so many images of each class from each folder, others in place of those that are left out."""
    samples = [sample for sample in scan.samples if sample.path not in exclude]
    if max_per_class is None:
        return samples
    counts: Counter[tuple[str | None, int]] = Counter()
    selected = []
    for sample in sorted(samples, key=shuffle_key(scan.root, seed)):
        counts[sample.split, sample.label] += 1
        if counts[sample.split, sample.label] <= max_per_class:
            selected.append(sample)
    return selected


def shuffle_key(root: Path, seed: int) -> Callable[[Sample], bytes]:
    """A key that sorts samples as if drawn by lot, whatever order they came in and wherever the folder lies.

    The lot of an image depends on its name and the seed alone, so that more images hardly move the others.
    """
    root_prefix = f"{root.absolute().as_posix()}/"
    cwd_prefix = f"{Path.cwd().as_posix()}/"

    def rank(sample: Sample) -> bytes:
        path = sample.path
        name = (path.as_posix() if path.is_absolute() else cwd_prefix + path.as_posix()).removeprefix(root_prefix)
        return blake2b(f"{seed} {name}".encode("utf-8", "surrogateescape"), digest_size=16).digest()

    return rank


def split_fraction(pool: Sequence[list[Sample]], fraction: float) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and this share of every class: at least one image, as near as whole units allow."""
    class_counts = Counter(sample.label for unit in pool for sample in unit)
    target_counts = {label: max(1, round(count * fraction)) for label, count in class_counts.items()}
    held_out: list[list[Sample]] = []
    held_out_counts: Counter[int] = Counter()
    for unit in pool:
        unit_counts = Counter(sample.label for sample in unit)
        if all(held_out_counts[label] + count / 2 <= target_counts[label] for label, count in unit_counts.items()):
            held_out.append(unit)
            held_out_counts += unit_counts
    for label in class_counts.keys() - held_out_counts.keys():  # units too large for the share: the smallest will do
        held_out.append(min((unit for unit in pool if label in {sample.label for sample in unit}), key=len))
    held_out_ids = {id(unit) for unit in held_out}
    return (
        [sample for unit in pool if id(unit) not in held_out_ids for sample in unit],
        [sample for unit in pool if id(unit) in held_out_ids for sample in unit],
    )


def split_fold(pool: Sequence[list[Sample]], folds: int, fold: int) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and the given one of so many parts, each with an even share of every class."""
    parts: list[list[Sample]] = [[] for _ in range(folds)]
    part_counts = [Counter[int]() for _ in range(folds)]
    for unit in sorted(pool, key=len, reverse=True):  # the large ones first, while there is room to even them out
        unit_counts = Counter(sample.label for sample in unit)
        crowding = [sum(count * part[label] for label, count in unit_counts.items()) for part in part_counts]
        smallest = min(range(folds), key=lambda index: (crowding[index], len(parts[index])))
        parts[smallest] += unit
        part_counts[smallest] += unit_counts
    return [sample for index, part in enumerate(parts) if index != fold for sample in part], parts[fold]


def check_class_coverage(splits: Splits, class_names: list[str]) -> None:
    """Raise DataError unless every split has an image of every class."""
    for split, samples in splits.items():
        present = {sample.label for sample in samples}
        for label, name in enumerate(class_names):
            if label not in present:
                raise DataError(
                    f"class {name!r} has too few images to be in the {split} split (copies and groups count as one); "
                    "add images, or lower dataset.folds or dataset.val_fraction and test_fraction"
                )
