"""The curves of two classes, beside what one counts by hand."""

import numpy as np
import pytest

from cnn_classifier.report.metrics.curves import MAX_POINTS, binary_curves

LABELS, SURE = np.array([0, 0, 0, 1, 0, 1, 1]), np.array([0.05, 0.1, 0.2, 0.35, 0.6, 0.7, 0.9])


def test_the_best_thresholds_are_those_found_by_hand() -> None:
    curves = binary_curves(LABELS, SURE)

    # From 0.35 on all three are found, and one of the four others is taken for them; from 0.7 on it is two and none.
    assert curves["roc"]["best"] == {
        "threshold": 0.35,
        "false_positive_rate": 0.25,
        "true_positive_rate": 1.0,
    }
    assert curves["roc"]["area"] == pytest.approx(11 / 12)  # of the 12 pairs one is in the wrong order
    assert curves["precision_recall"]["best"] == {
        "threshold": 0.35,
        "precision": 0.75,
        "recall": 1.0,
        "f1": pytest.approx(6 / 7),
    }


def test_one_class_alone_has_no_curves() -> None:
    assert binary_curves(np.ones(3, int), np.array([0.2, 0.4, 0.9])) == {}


def test_long_curves_are_thinned_from_end_to_end() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    points = binary_curves(labels, generator.random(20_000) / 2 + labels / 4)["roc"]["points"]
    assert 100 < len(points) <= MAX_POINTS + 2
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
    assert points == sorted(points)
