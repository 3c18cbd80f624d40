"""The decision whether training images are mirrored: measured on decoded images, otherwise guessed from class names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import digits
from typing import Any

import numpy as np

from cnn_classifier.auto.resolved import ResolvedValue
from cnn_classifier.data.checks.label_changes import LabelChange, LabelProbe, Labels, sample_evenly, shrink
from cnn_classifier.data.checks.suggestions import has_mirrored_classes
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.parallel import batch_slices
from cnn_classifier.data.sources.class_names import abbreviate
from cnn_classifier.data.sources.index import Sample

FLIP_KEY = "augment.flip.p"
FLIP_PROBABILITY = 0.5
DIRECTIONS = ("left", "right")


@dataclass(frozen=True)
class FlipDecision:
    """The decision on horizontal flips, with its reason.

    Args:
        probability: The probability of a flip.
        reason: The figures of the measurement.
        is_measured: Whether the images, and not the class names, decided.
    """

    probability: float
    reason: str
    is_measured: bool

    @property
    def changes_class(self) -> bool:
        """True if the measurement shows that mirror images belong to another class."""
        return self.is_measured and self.probability == 0

    @property
    def value(self) -> ResolvedValue:
        """The value of `augment.flip.p`."""
        return ResolvedValue(FLIP_KEY, self.probability, self.reason)


def measure_flips(
    store: ImageStore, samples: Sequence[Sample], class_names: Sequence[str], summary: Mapping[str, Any]
) -> FlipDecision:
    """Decide from the training images whether flips preserve the class.

    Args:
        store: The decoded images.
        samples: The training samples.
        class_names: The names of the classes.
        summary: The summary of the data check, with the number of images whose mirror image is in another class.
    """
    if has_mirrored_classes(summary):
        reason = f"{summary['mirrored_conflicts']} images have their mirror image in another class"
        return FlipDecision(0.0, reason, True)
    images, labels = load_sample(store, samples)
    return decide_flips(LabelProbe(images, labels).measure(images[:, :, ::-1]), class_names)


def load_sample(store: ImageStore, samples: Sequence[Sample]) -> tuple[Pixels, Labels]:
    """Return evenly spaced images of each class, see `load_images`, and their labels."""
    samples = sorted(samples, key=lambda sample: str(sample.path))
    samples = [samples[i] for i in sample_evenly([sample.label for sample in samples])]
    return load_images(store, samples), np.array([sample.label for sample in samples], np.int64)


def load_images(store: ImageStore, samples: Sequence[Sample]) -> Pixels:
    """Return the images at 32 px, uint8 of shape (N, 32, 32, 3)."""
    rows = store.get_rows([sample.path for sample in samples])
    batches = store.iter_batches(rows[batch] for batch in batch_slices(len(rows), 256))
    return np.concatenate([shrink(pixels) for pixels in batches])


def decide_flips(change: LabelChange, class_names: Sequence[str]) -> FlipDecision:
    """Return the decision that follows from a measurement of mirror images."""
    if change.is_change is None:
        probability, reason = flip_probability(class_names)
        return FlipDecision(probability, f"{reason}; the images are too few or too difficult for a measurement", False)
    reason = (
        f"a quick classifier assigns {change.errors_with_copies:.0%} of held-out originals to another class if it is "
        f"trained with mirrored copies, {change.errors:.0%} without"
    )
    if change.changed_classes and len(change.changed_classes) < len(class_names):
        reason += f"; flips change {abbreviate([class_names[label] for label in change.changed_classes])}"
    return FlipDecision(0.0 if change.is_change else FLIP_PROBABILITY, reason, True)


def flip_probability(class_names: Sequence[str]) -> tuple[float, str]:
    """Guess from the class names whether a horizontal flip preserves the label; return its probability and why."""
    if all(len(name) == 1 and name.isalpha() for name in class_names) or set(digits) <= set(class_names):
        return 0.0, "the class names are letters or digits"
    words = {word for name in class_names for word in re.split(r"[\W_\d]+", name.lower())}
    if words.issuperset(DIRECTIONS):
        return 0.0, "the class names contain left and right"
    return FLIP_PROBABILITY, "assumes that flips preserve the class; otherwise set 0"
