"""Tests of temperature scaling, rejection thresholds and reliability bins."""

import numpy as np
import pytest

from cnn_classifier.report.metrics.calibration import (
    TEMPERATURE_BOUNDS,
    Labels,
    Probabilities,
    apply_temperature,
    calibrate,
    expected_calibration_error,
    few_images_warnings,
    fit_temperature,
    rejection_threshold,
    reliability_bins,
)


def make_predictions(count: int, *, accuracy: float, temperature: float, seed: int = 0) -> tuple[Labels, Probabilities]:
    """Return labels and predictions of three classes that are calibrated at a temperature if the accuracy is 1.

    Args:
        count: The number of images.
        accuracy: The fraction of images whose label is drawn from the calibrated probabilities. Others are wrong.
        temperature: The best temperature.
        seed: The seed of the random number generator.
    """
    rng = np.random.default_rng(seed)
    calibrated = rng.dirichlet([0.5] * 3, size=count)
    labels = np.array([rng.choice(3, p=row) for row in calibrated])
    wrong = rng.random(count) >= accuracy
    labels[wrong] = calibrated[wrong].argmin(axis=1)
    return labels, apply_temperature(calibrated, 1 / temperature)


@pytest.mark.parametrize("best", [0.5, 1.0, 2.0])
def test_temperature_approaches_the_best_one_with_more_images(best: float) -> None:
    fitted = {
        count: np.mean(
            [
                np.log(fit_temperature(*make_predictions(count, accuracy=1, temperature=best, seed=seed)))
                for seed in range(5)
            ]
        )
        for count in (5, 800)
    }
    assert fitted[800] == pytest.approx(np.log(best), abs=0.08)
    assert abs(fitted[5]) < max(0.2, abs(np.log(best)))


def test_temperature_of_20_images_rarely_increases_the_loss() -> None:
    labels, probabilities = make_predictions(2000, accuracy=1, temperature=1.0)
    rows = np.arange(len(labels))
    losses = []
    for seed in range(20):
        subset = np.random.default_rng(seed).permutation(len(labels))[:20]
        scaled = apply_temperature(probabilities, fit_temperature(labels[subset], probabilities[subset]))
        losses.append(-np.log(scaled[rows, labels]).mean())
    assert np.mean(losses) < -np.log(probabilities[rows, labels]).mean() + 0.02


@pytest.mark.parametrize("count", [1, 20, 500])
def test_perfect_and_wrong_predictions_give_a_finite_temperature(count: int) -> None:
    confident = np.tile([[0.98, 0.01, 0.01]], (count, 1))
    perfect = calibrate(np.zeros(count, np.int64), confident)
    wrong = calibrate(np.ones(count, np.int64), confident)
    assert TEMPERATURE_BOUNDS[0] < perfect.temperature <= 1 < wrong.temperature <= TEMPERATURE_BOUNDS[1]
    assert wrong.threshold == 0  # no correct image determines it
    assert (perfect.threshold > 0.9) == (count >= 20)


def test_certain_predictions_and_a_single_class_keep_temperature_1() -> None:
    labels = np.array([0, 1, 2] * 10)
    assert fit_temperature(labels, np.eye(3)[labels]) == pytest.approx(1, abs=0.02)
    assert fit_temperature(np.zeros(30, np.int64), np.ones((30, 1))) == pytest.approx(1, abs=0.02)


def test_probabilities_that_are_not_finite_are_ignored() -> None:
    labels, probabilities = make_predictions(100, accuracy=1, temperature=2.0)
    expected = fit_temperature(labels[10:], probabilities[10:])
    probabilities[:10] = np.nan
    assert fit_temperature(labels, probabilities) == expected
    assert fit_temperature(labels, np.full((100, 3), np.nan)) == pytest.approx(1, abs=0.02)


def test_rejection_threshold_rejects_the_stated_fraction_of_new_images() -> None:
    rng = np.random.default_rng(0)
    for count, expected in ((39, 1 / 40), (400, 10 / 401), (60, 1 / 61)):
        thresholds = [rejection_threshold(1 + rng.random(count)) for _ in range(400)]
        rates = [threshold - 1 for threshold in thresholds if threshold is not None]  # of a uniform distribution
        assert np.mean(rates) == pytest.approx(expected, abs=0.003)
    assert rejection_threshold(np.ones(19)) is None
    assert rejection_threshold(np.full(100, np.nan)) is None
    assert rejection_threshold(np.full(100, 0.87654321)) == 0.8765  # rounded down, so that equal scores are accepted


def test_few_correct_images_do_not_disable_the_minimum_similarity() -> None:
    labels = np.array([0] * 10 + [1] * 40)
    calibration = calibrate(labels, np.tile([[0.6, 0.4]], (50, 1)), min_similarity=0.8)
    assert calibration.min_similarity == 0.8
    assert 0 < calibration.threshold < 0.5  # below every possible probability of the predicted class


def test_few_validation_images_are_reported_with_the_worst_rejection_rate() -> None:
    assert few_images_warnings(100) == []
    (few,) = few_images_warnings(75)
    assert "Few validation images (75)" in few
    assert "up to 5 %" in few
    (very_few,) = few_images_warnings(12)
    assert "no prediction is rejected, which requires 20 images" in very_few


def test_bins_of_few_images_are_merged() -> None:
    confidence = np.array([0.99] * 30 + [0.9] * 3 + [0.8] * 9 + [0.52])
    labels = np.array([0] * 33 + [1] * 10)
    bins = reliability_bins(labels, np.stack([confidence, 1 - confidence], axis=1))
    assert [row["images"] for row in bins] == [13, 30]
    assert bins[1] == {"confidence": pytest.approx(0.99), "accuracy": 1.0, "images": 30}
    assert bins[0]["accuracy"] == pytest.approx(3 / 13)
    single = reliability_bins(labels[:1], np.array([[0.7, 0.3]]))
    assert expected_calibration_error(single) == pytest.approx(0.3)
