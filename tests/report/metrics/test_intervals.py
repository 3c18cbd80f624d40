"""Confidence intervals compared with reference values and SciPy."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cnn_classifier.report.metrics.intervals import macro_f1_interval, wilson_interval


def test_wilson_interval_matches_reference_values_and_stays_within_bounds() -> None:
    assert wilson_interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = wilson_interval(1.0, 20)
    assert (low, high) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert wilson_interval(0.0, 20) == (0.0, pytest.approx(1 - low))


def test_macro_f1_interval_matches_bootstrap_over_images() -> None:
    matrix = np.array([[40, 8, 2], [5, 30, 0], [0, 3, 12]])
    labels, predicted = (np.repeat(axis, matrix.ravel()) for axis in np.indices(matrix.shape).reshape(2, -1))
    generator = np.random.default_rng(1)
    draws = [generator.integers(0, len(labels), len(labels)) for _ in range(400)]
    expected = np.percentile([f1_score(labels[draw], predicted[draw], average="macro") for draw in draws], [2.5, 97.5])

    assert macro_f1_interval(matrix) == pytest.approx(expected, abs=0.015)
    assert macro_f1_interval(matrix) == macro_f1_interval(matrix)
    assert macro_f1_interval(matrix, seed=1) != macro_f1_interval(matrix)


def test_macro_f1_interval_without_mistakes_is_one() -> None:
    assert macro_f1_interval(np.diag([5, 0, 7])) == (1.0, 1.0)  # the absent class is ignored
