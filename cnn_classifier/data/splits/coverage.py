"""The classes of a split: classes without training images are left out, and small or incomplete splits are noted."""

import math
from collections import Counter
from collections.abc import Sequence

from cnn_classifier.data.sources.class_names import abbreviate, pluralize
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.errors import DataError

MIN_TRAINING_IMAGES = 10  # fewer of a class rarely suffice to train on
MIN_EVALUATION_IMAGES = 100  # a measured accuracy is within 10 percentage points
EMPTY_SPLITS = {  # what is missing without images in a split
    "val": "No validation images: the last weights are kept, and probabilities and rejection are not calibrated.",
    "test": "No test images: the accuracy of the model is not measured.",
}
Z_95 = 1.96  # the two-sided 95 % quantile of the standard normal distribution


def leave_out_untrained_classes(splits: Splits, class_names: list[str]) -> tuple[Splits, list[str]]:
    """Leave out the validation and test images of classes without training images.

    Args:
        splits: The samples of each split.
        class_names: The names of the classes.

    Returns:
        The splits, and notes about classes that are missing in a split and about splits with few images.

    Raises:
        DataError: If fewer than two classes have training images.
    """
    labels = {split: {sample.label for sample in samples} for split, samples in splits.items()}
    trained = labels["train"]
    untrained = [name for label, name in enumerate(class_names) if label not in trained]
    kept = {split: [sample for sample in samples if sample.label in trained] for split, samples in splits.items()}
    num_left_out = sum(map(len, splits.values())) - sum(map(len, kept.values()))
    if len(trained) < 2:
        raise DataError(f"Fewer than two classes have training images; without any: {abbreviate(untrained)}.")
    notes = []
    if untrained:
        notes.append(
            f"Classes without training images: {abbreviate(untrained)}. They are never predicted, and "
            f"{pluralize(num_left_out, 'image')} of them in other splits are left out."
        )
    missing = {
        name: [split for split, samples in kept.items() if samples and label not in labels[split]]
        for label, name in enumerate(class_names)
        if label in trained
    }
    if described := [f"{name} ({', '.join(absent)})" for name, absent in missing.items() if absent]:
        notes.append(f"Classes without images in a split: {abbreviate(described)}. They have no metrics there.")
    notes += [*describe_rare_classes(kept["train"], class_names), *describe_empty_splits(kept)]
    return kept, notes + describe_small_splits(kept)


def describe_rare_classes(samples: Sequence[Sample], class_names: Sequence[str]) -> list[str]:
    """Return a note that names the classes with fewer than `MIN_TRAINING_IMAGES` training images, rarest first."""
    counts = Counter(sample.label for sample in samples)
    rare = sorted((count, label) for label, count in counts.items() if count < MIN_TRAINING_IMAGES)
    if not rare:
        return []
    names = abbreviate([f"{class_names[label]} ({count})" for count, label in rare])
    return [
        f"Classes with fewer than {MIN_TRAINING_IMAGES} training images: {names}. Expect many mistakes on them unless "
        "the network is pretrained; add images."
    ]


def describe_empty_splits(splits: Splits) -> list[str]:
    """Return a note for each of the validation and test splits that has no images, with what it means."""
    return [consequence for split, consequence in EMPTY_SPLITS.items() if not splits[split]]


def describe_small_splits(splits: Splits) -> list[str]:
    """Return a note about validation and test splits with fewer than `MIN_EVALUATION_IMAGES` images, if any.

    The margin is half of the score interval (E. B. Wilson 1927) at an accuracy of 50 %, where it is widest.
    """
    small = [
        f"{split} {pluralize(len(samples), 'image')} (\N{PLUS-MINUS SIGN}"
        f"{100 * Z_95 / 2 / math.sqrt(len(samples) + Z_95**2):.0f} percentage points)"
        for split, samples in splits.items()
        if split != "train" and 0 < len(samples) < MIN_EVALUATION_IMAGES
    ]
    return [f"Few images to measure the accuracy on: {', '.join(small)}."] if small else []
