"""ROC and precision-recall curves compared with values computed by hand."""

import numpy as np
import pytest

from cnn_classifier.report.metrics.curves import MAX_POINTS, binary_curves

LABELS, SCORES = np.array([0, 0, 0, 1, 0, 1, 1]), np.array([0.05, 0.1, 0.2, 0.35, 0.6, 0.7, 0.9])


def test_best_thresholds_and_areas_match_hand_computed_values() -> None:
    curves = binary_curves(LABELS, SCORES)

    # At a threshold of 0.35 there are 3 true and 1 false positives; at 0.7 there are 2 and 0.
    assert curves["roc"]["best"] == {
        "threshold": 0.35,
        "false_positive_rate": 0.25,
        "true_positive_rate": 1.0,
    }
    assert curves["roc"]["auc"] == pytest.approx(11 / 12)  # 1 of the 12 pairs is misordered
    assert curves["precision_recall"]["best"] == {
        "threshold": 0.35,
        "precision": 0.75,
        "recall": 1.0,
        "f1": pytest.approx(6 / 7),
    }


def test_single_class_has_no_curves() -> None:
    assert binary_curves(np.ones(3, int), np.array([0.2, 0.4, 0.9])) == {}


def test_long_curves_are_resampled_with_both_ends_and_best_point() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    points = binary_curves(labels, generator.random(20_000) / 2 + labels / 4)["roc"]["points"]
    assert 100 < len(points) <= MAX_POINTS + 2
    assert (points[0], points[-1]) == ([0, 0], [1, 1])
    assert points == sorted(points)
