"""Stratified, seeded and grouped train/val/test splits."""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.groups import collect_groups, merge_linked
from cnn_classifier.errors import ConfigError, DataError

Splits = dict[str, list[Sample]]


def split_samples(
    index: DatasetIndex, config: DatasetConfig, seed: int, linked: Iterable[Collection[Path]] = ()
) -> Splits:
    """Assign the samples of a dataset to train, val and test.

    Splits that exist as folders are used unchanged. A missing split is taken from the training images, stratified by
    class, and is empty if its fraction is 0. With `folds`, fold number `fold` becomes the test split, or the validation
    split if there is a test folder. A class has at least one training image: a single image is used for training, and
    two for training and testing. The validation or test split is empty if no class has enough images for it.

    Args:
        index: The dataset; all of its samples are used.
        config: The fractions, or the number of folds and the fold.
        seed: The seed. The assignment depends on the seed and on the file paths relative to `index.root`.
        linked: Sets of files that must be in the same split, such as duplicates. Samples of one group always are.

    Returns:
        The samples of each split.

    Raises:
        ConfigError: If `fold` is `all`.
        DataError: If there are no training images, or fewer images than folds.
    """
    if config.fold == "all":
        raise ConfigError("dataset.fold=all is a run of each fold, which only the command train and train() start")
    samples = sorted(index.samples, key=shuffle_key(index.root, seed))
    splits: Splits = {
        "train": [sample for sample in samples if sample.split in (None, "train")],
        "val": [sample for sample in samples if sample.split == "val"],
        "test": [sample for sample in samples if sample.split == "test"],
    }
    linked = [*linked, *collect_groups(samples)]
    if config.folds:
        held_out = "val" if splits["test"] else "test"
        pool = merge_linked((sample for sample in samples if sample.split in (None, "train", held_out)), linked)
        splits["train"], splits[held_out] = split_fold(pool, config.folds, config.fold)
    val_fraction = remaining_val_fraction(config.val_fraction, config.test_fraction, has_test=bool(splits["test"]))
    if not splits["test"] and not config.folds and config.test_fraction:
        splits["train"], splits["test"] = split_fraction(merge_linked(splits["train"], linked), config.test_fraction)
    if not splits["val"] and val_fraction:
        splits["train"], splits["val"] = split_fraction(merge_linked(splits["train"], linked), val_fraction)
    if not splits["train"]:
        raise DataError(f"{index.root} has no images for the train split; expected a folder train, or class folders.")
    return splits


def remaining_val_fraction(val_fraction: float, test_fraction: float, *, has_test: bool) -> float:
    """Convert the validation fraction from all images to the images left after the test split is taken from them.

    Args:
        val_fraction: The fraction of all images for validation.
        test_fraction: The fraction of all images for testing.
        has_test: Whether a test split exists already, so that none is taken.
    """
    return val_fraction / (1 if has_test else 1 - test_fraction)


def limit_per_class(
    index: DatasetIndex, max_per_class: int | None, seed: int, exclude: Container[Path] = ()
) -> list[Sample]:
    """Select at most `max_per_class` images of each class in each split folder.

    Args:
        index: The dataset.
        max_per_class: The maximum number of images. None selects all.
        seed: The seed of the selection.
        exclude: Files that are not selected, such as unreadable ones. Other images take their place.

    Returns:
        The selected samples.
    """
    samples = [sample for sample in index.samples if sample.path not in exclude]
    if max_per_class is None:
        return samples
    counts: Counter[tuple[str | None, int]] = Counter()
    selected = []
    for sample in sorted(samples, key=shuffle_key(index.root, seed)):
        counts[sample.split, sample.label] += 1
        if counts[sample.split, sample.label] <= max_per_class:
            selected.append(sample)
    return selected


def shuffle_key(root: Path, seed: int) -> Callable[[Sample], bytes]:
    """Return a sort key for a pseudorandom order of samples.

    The key is a hash of the seed and the path relative to `root`. The order is therefore independent of the listing
    order and of the location of the dataset, and adding images changes the assignment of few others.

    Args:
        root: The root folder of the dataset.
        seed: The seed of the order.
    """
    root_prefix = f"{root.absolute().as_posix()}/"
    cwd_prefix = f"{Path.cwd().as_posix()}/"

    def key(sample: Sample) -> bytes:
        path = sample.path
        name = (path.as_posix() if path.is_absolute() else cwd_prefix + path.as_posix()).removeprefix(root_prefix)
        return blake2b(f"{seed} {name}".encode("utf-8", "surrogateescape"), digest_size=16).digest()

    return key


def split_fraction(pool: Sequence[list[Sample]], fraction: float) -> tuple[list[Sample], list[Sample]]:
    """Split off a fraction of every class.

    Args:
        pool: The units of samples that must stay together, in random order.
        fraction: The fraction to split off. It is matched as closely as whole units allow, with at least one image per
            class that has two units or more.

    Returns:
        The remaining samples, and those that were split off.
    """
    class_counts = Counter(sample.label for unit in pool for sample in unit)
    target_counts = {label: max(1, round(count * fraction)) for label, count in class_counts.items()}
    held_out: list[list[Sample]] = []
    held_out_counts: Counter[int] = Counter()
    for unit in pool:
        unit_counts = Counter(sample.label for sample in unit)
        if all(held_out_counts[label] + count / 2 <= target_counts[label] for label, count in unit_counts.items()):
            held_out.append(unit)
            held_out_counts += unit_counts
    for label in class_counts.keys() - held_out_counts.keys():  # all units of the class exceed its target
        held_out.append(min((unit for unit in pool if label in {sample.label for sample in unit}), key=len))
    held_out_ids = {id(unit) for unit in held_out}
    return keep_all_classes(
        [unit for unit in pool if id(unit) not in held_out_ids], [unit for unit in pool if id(unit) in held_out_ids]
    )


def split_fold(pool: Sequence[list[Sample]], folds: int, fold: int) -> tuple[list[Sample], list[Sample]]:
    """Split off one of `folds` parts, over which the samples of every class are distributed evenly.

    Args:
        pool: The units of samples that must stay together, in random order.
        folds: The number of parts.
        fold: The index of the part to split off.

    Returns:
        The remaining samples, and those of the part.

    Raises:
        DataError: If any of the parts has no images, so that all folds of a cross-validation fail at once.
    """
    parts: list[list[list[Sample]]] = [[] for _ in range(folds)]
    part_counts = [Counter[int]() for _ in range(folds)]
    for unit in sorted(pool, key=len, reverse=True):  # large units first, so that small ones can even out the parts
        unit_counts = Counter(sample.label for sample in unit)
        class_load = [sum(count * part[label] for label, count in unit_counts.items()) for part in part_counts]
        target = min(range(folds), key=lambda index: (class_load[index], part_counts[index].total()))
        parts[target].append(unit)
        part_counts[target] += unit_counts
    pairs = [
        keep_all_classes([unit for part in parts if part is not held_out for unit in part], held_out)
        for held_out in parts
    ]
    if not all(held_out for _, held_out in pairs):
        raise DataError(
            f"dataset.folds={folds} is more than the images allow: a fold would be empty (duplicates and groups count "
            "as one image, and the only image of a class is always trained on). Add images, or lower dataset.folds."
        )
    return pairs[fold]


def keep_all_classes(remaining: list[list[Sample]], held_out: list[list[Sample]]) -> tuple[list[Sample], list[Sample]]:
    """Return the samples of both sides, with the smallest held-out unit of a class that has no other moved back.

    Args:
        remaining: The units that remain for training.
        held_out: The units that were split off.
    """
    labels = {sample.label for unit in remaining for sample in unit}
    moved_ids = set()
    for unit in sorted(held_out, key=len):
        unit_labels = {sample.label for sample in unit}
        if not unit_labels <= labels:
            moved_ids.add(id(unit))
            labels |= unit_labels
    return (
        [sample for unit in [*remaining, *(unit for unit in held_out if id(unit) in moved_ids)] for sample in unit],
        [sample for unit in held_out if id(unit) not in moved_ids for sample in unit],
    )
