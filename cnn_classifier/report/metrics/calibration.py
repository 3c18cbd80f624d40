"""Temperature scaling, calibration error and thresholds for selective prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

# The target coverage on the validation split. Each of the two thresholds rejects half of the rest.
TARGET_COVERAGE = 0.95
REJECT_QUANTILE = (1 - TARGET_COVERAGE) / 2
NUM_BINS = 15
EPS = 1e-12


@dataclass(frozen=True)
class Calibration:
    """The calibration of a classifier on the validation split.

    Args:
        temperature: The softmax temperature, by which the logits are divided.
        threshold: The minimum probability of the predicted class. Predictions below it are rejected as `unknown`.
        min_similarity: The minimum similarity to the validation images in feature space. Images below it are rejected
            as `unknown`. None disables the check.
    """

    temperature: float
    threshold: float
    min_similarity: float | None


def calibrate(
    labels: Labels, probabilities: Probabilities, similarity: npt.NDArray[np.floating[Any]] | None = None
) -> Calibration:
    """Fit the temperature and the rejection thresholds on held-out images.

    The temperature minimizes the cross-entropy (arXiv:1706.04599) with the smoothed targets of Platt (1999). Smoothing
    keeps the probabilities below 1 if the network makes no mistake on a small validation split.

    Args:
        labels: The true classes, shape (N,).
        probabilities: The predicted probabilities at temperature 1, shape (N, K).
        similarity: The feature-space similarities of validation images, shape (M,). None omits that threshold.
    """
    target_confidence = (len(labels) + 1) / (len(labels) + 2)
    num_classes = probabilities.shape[1]
    targets = np.full(probabilities.shape, (1 - target_confidence) / max(num_classes - 1, 1))
    targets[np.arange(len(labels)), labels] = target_confidence

    def loss(log_temperature: float) -> float:
        probs = apply_temperature(probabilities, float(np.exp(log_temperature)))
        return float(-(targets * np.log(np.maximum(probs, EPS))).sum(axis=1).mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(10.0)), method="bounded").x))
    calibrated = apply_temperature(probabilities, temperature)
    correct = calibrated.argmax(axis=1) == labels
    threshold = float(np.quantile(calibrated.max(axis=1)[correct], REJECT_QUANTILE)) if correct.any() else 0.0
    min_similarity = None if similarity is None else round(float(np.quantile(similarity, REJECT_QUANTILE)), 4)
    return Calibration(round(temperature, 4), round(threshold, 4), min_similarity)


def apply_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the probabilities (N, K) after division of the underlying logits by a temperature."""
    logits = np.log(np.maximum(probabilities, EPS)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def reliability_bins(labels: Labels, probabilities: Probabilities) -> list[dict[str, float]]:
    """Return `confidence`, `accuracy` and number of `images` for each non-empty confidence bin."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        {
            "confidence": float(confidence[bins == index].mean()),
            "accuracy": float(correct[bins == index].mean()),
            "images": int((bins == index).sum()),
        }
        for index in np.unique(bins)
    ]


def expected_calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Return the mean absolute difference of confidence and accuracy, weighted by images (ECE, arXiv:1706.04599)."""
    num_images = sum(row["images"] for row in bins)
    return sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / num_images


def coverage_curve(labels: Labels, probabilities: Probabilities, num_points: int = 101) -> list[dict[str, float]]:
    """Return the accuracy on the accepted images as a function of coverage.

    Args:
        labels: The true classes, shape (N,).
        probabilities: The predicted probabilities, shape (N, K).
        num_points: The maximum number of points.

    Returns:
        Rows of `threshold`, `coverage` (the fraction of accepted images) and `accuracy` on these, in descending order
        of coverage.
    """
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    correct = (probabilities.argmax(axis=1) == labels)[order]
    confidence = probabilities.max(axis=1)[order]
    accuracy = correct.cumsum() / np.arange(1, len(order) + 1)
    counts = np.unique(np.linspace(1, len(order), min(num_points, len(order))).round().astype(int))[::-1]
    return [
        {
            "threshold": float(confidence[count - 1]),
            "coverage": float(count / len(order)),
            "accuracy": float(accuracy[count - 1]),
        }
        for count in counts
    ]


def calibration_report(
    labels: Labels, uncalibrated: Probabilities, calibrated: Probabilities, temperature: float
) -> dict[str, Any]:
    """Return the temperature with the reliability bins and the calibration error `ece` before and after scaling."""
    content: dict[str, Any] = {"temperature": temperature}
    for name, probabilities in (("before", uncalibrated), ("after", calibrated)):
        bins = reliability_bins(labels, probabilities)
        content[name] = {"ece": expected_calibration_error(bins), "bins": bins}
    return content


def selective_accuracy(
    labels: Labels, probabilities: Probabilities, threshold: float, in_distribution: npt.NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """Return the coverage, the accuracy on the accepted images and the coverage curve.

    Args:
        labels: The true classes, shape (N,).
        probabilities: The predicted probabilities, shape (N, K).
        threshold: The minimum probability of the predicted class.
        in_distribution: The mask of in-distribution images, shape (N,). None accepts all images.

    Returns:
        `accuracy` is None if every image is rejected. `curve` varies the probability threshold only.
    """
    in_distribution = np.ones(len(labels), bool) if in_distribution is None else in_distribution
    is_accepted = (probabilities.max(axis=1) >= threshold) & in_distribution
    correct = probabilities.argmax(axis=1) == labels
    return {
        "threshold": threshold,
        "out_of_distribution": float((~in_distribution).mean()),
        "coverage": float(is_accepted.mean()),
        "accuracy": float(correct[is_accepted].mean()) if is_accepted.any() else None,
        "curve": coverage_curve(labels, probabilities),
    }
