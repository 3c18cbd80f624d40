"""Intervals agree with textbooks and with the slow way."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from cnn_classifier.report.metrics.intervals import macro_f1_interval, wilson_interval


def test_wilson_is_that_of_the_textbook_and_stays_within_0_and_1() -> None:
    assert wilson_interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    low, high = wilson_interval(1.0, 20)
    assert (low, high) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    assert wilson_interval(0.0, 20) == (0.0, pytest.approx(1 - low))


def test_drawing_cells_is_drawing_images() -> None:
    matrix = np.array([[40, 8, 2], [5, 30, 0], [0, 3, 12]])
    labels, said = (np.repeat(axis, matrix.ravel()) for axis in np.indices(matrix.shape).reshape(2, -1))
    generator = np.random.default_rng(1)
    draws = [generator.integers(0, len(labels), len(labels)) for _ in range(400)]
    slow = np.percentile([f1_score(labels[draw], said[draw], average="macro") for draw in draws], [2.5, 97.5])

    assert macro_f1_interval(matrix) == pytest.approx(slow, abs=0.015)
    assert macro_f1_interval(matrix) == macro_f1_interval(matrix)
    assert macro_f1_interval(matrix, seed=1) != macro_f1_interval(matrix)


def test_without_mistakes_there_is_nothing_to_draw() -> None:
    assert macro_f1_interval(np.diag([5, 0, 7])) == (1.0, 1.0)  # a class that does not occur does not count
