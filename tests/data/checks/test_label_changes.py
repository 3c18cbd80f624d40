"""Tests of the measurement whether a mirror image changes the class."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cnn_classifier.auto.flips import decide_flips
from cnn_classifier.data.checks.label_changes import LabelChange, LabelProbe, binomial_tail

Array = npt.NDArray[Any]


def mirror(images: Array) -> Array:
    return images[:, :, ::-1]


def draw_wedges(labels: Array, *, mirrored_labels: tuple[int, ...] = ()) -> Array:
    """Draw a bright wedge; those of class 1 point left, and others have the color of their class if not mirrored."""
    generator = np.random.default_rng(0)
    images = generator.integers(60, 100, (len(labels), 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        top, left = generator.integers(3, 14, 2)
        wedge = np.tril(np.ones((16, 16), bool))
        points_left = label == 1 if label in mirrored_labels else generator.random() < 0.5
        wedge = wedge[:, ::-1] if points_left else wedge
        color = (230, 230, 230) if label in mirrored_labels else (30 * label + 10, 255 - 40 * label, 200)
        image[top : top + 16, left : left + 16][wedge] = color
    return images.astype(np.uint8)


def test_classes_that_are_mirror_images_change() -> None:
    labels = np.arange(80) % 2
    images = draw_wedges(labels, mirrored_labels=(0, 1))
    change = LabelProbe(images, labels).measure(mirror(images))
    assert change.is_change
    assert change.changed_classes == (0, 1)
    assert change.errors < 0.1
    assert change.errors_with_copies > 0.3


def test_classes_by_color_are_not_changed_by_mirroring() -> None:
    labels = np.arange(90) % 3
    images = draw_wedges(labels)
    assert LabelProbe(images, labels).measure(mirror(images)).is_change is False


def test_objects_on_one_side_of_the_image_are_not_changed_by_mirroring() -> None:
    labels, generator = np.arange(120) % 2, np.random.default_rng(0)
    images = generator.integers(60, 100, (120, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        top, left = generator.integers((1, 18 * label), (12, 18 * label + 4))
        bright = np.ones((10, 10), bool) if label else np.add.outer(np.arange(-5, 5) ** 2, np.arange(-5, 5) ** 2) < 20
        image[top : top + 10, left : left + 10][bright] = (200, 120, 120) if label else 230
    images = images.astype(np.uint8)
    change = LabelProbe(images, labels).measure(mirror(images))
    assert change.is_change is False
    assert change.errors_with_copies < 0.05


def test_two_mirrored_classes_of_six_change() -> None:
    labels = np.arange(240) % 6
    images = draw_wedges(labels, mirrored_labels=(0, 1))
    change = LabelProbe(images, labels).measure(mirror(images))
    assert change.is_change
    assert change.changed_classes == (0, 1)


def test_random_images_give_no_answer() -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype(np.uint8)
    assert LabelProbe(images, np.arange(60) % 2).measure(mirror(images)).is_change is None


@pytest.mark.parametrize(
    ("is_change", "names", "probability"),
    [(True, "cats dogs", 0.0), (False, "b d", 0.5), (None, "b d", 0.0), (None, "cats dogs", 0.5)],
)
def test_measurement_overrules_class_names(is_change: bool | None, names: str, probability: float) -> None:
    decision = decide_flips(LabelChange(0.02, 0.96, (), is_change), names.split())
    assert decision.probability == probability
    assert decision.changes_class is bool(is_change)
    if is_change is not None:
        assert (
            "96% of held-out originals to another class if it is trained with mirrored copies, 2% without"
            in decision.reason
        )


def test_binomial_tail_is_exact() -> None:
    assert binomial_tail(9, 10, 0.5) == pytest.approx(11 / 1024)
