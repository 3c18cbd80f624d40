"""How sure a classifier may say it is: temperature scaling, and a threshold below which it had better not answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

# Of the validation images so many are above both thresholds, if no image is below both.
TARGET_COVERAGE = 0.95
REJECT_QUANTILE = (1 - TARGET_COVERAGE) / 2
NUM_BINS = 15
EPS = 1e-12


@dataclass(frozen=True)
class Calibration:
    """What validation images tell of a network's answers.

    Args:
        temperature: What its logits are divided by.
        threshold: Below this probability of the likeliest class the answer is `unknown`.
        least_familiarity: Below this familiarity, too; None if it is not known.
    """

    temperature: float
    threshold: float
    min_similarity: float | None


def calibrate(
    labels: Labels, probabilities: Probabilities, similarity: npt.NDArray[np.floating[Any]] | None = None
) -> Calibration:
    """Find temperature and thresholds on images that were not trained on.

    The temperature minimises the loss (arXiv:1706.04599), on targets that are never quite certain (Platt 1999), so that
    a network without mistakes on few images does not become sure of everything.

    Args:
        labels: (N,)
        probabilities: At temperature 1, (N, K).
        familiarity: Of images of the same kind, (M,).
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
    """Probabilities of logits that are divided by a temperature, from those of the logits themselves, (N, K)."""
    logits = np.log(np.maximum(probabilities, EPS)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def reliability_bins(labels: Labels, probabilities: Probabilities) -> list[dict[str, float]]:
    """For each bin of confidence how sure the answers were and how often they were right; empty bins are left out."""
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
    """The mean distance between being sure and being right, over all images (arXiv:1706.04599)."""
    num_images = sum(row["images"] for row in bins)
    return sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / num_images


def coverage_curve(labels: Labels, probabilities: Probabilities, num_points: int = 101) -> list[dict[str, float]]:
    """Accuracy of what is answered, as the threshold lets fewer and fewer images through.

    Returns:
        Rows of `threshold`, `coverage` (share of images that are answered) and `accuracy` of those, all images first.
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
    """What `report.json` says of a temperature: the bins and the calibration error without and with it."""
    content: dict[str, Any] = {"temperature": temperature}
    for name, probabilities in (("before", uncalibrated), ("after", calibrated)):
        bins = reliability_bins(labels, probabilities)
        content[name] = {"error": expected_calibration_error(bins), "bins": bins}
    return content


def selective_accuracy(
    labels: Labels, probabilities: Probabilities, threshold: float, in_distribution: npt.NDArray[np.bool_] | None = None
) -> dict[str, Any]:
    """What `report.json` says of what is refused: the images that are answered, the accuracy on them, and the curve.

    Args:
        labels: (N,)
        probabilities: (N, K)
        threshold: Of the likeliest class.
        familiar: Which images are familiar enough, (N,); None for all.

    Returns:
        `accuracy` is None where nothing is answered; the curve is that of the threshold alone.
    """
    in_distribution = np.ones(len(labels), bool) if in_distribution is None else in_distribution
    is_answered = (probabilities.max(axis=1) >= threshold) & in_distribution
    correct = probabilities.argmax(axis=1) == labels
    return {
        "threshold": threshold,
        "unfamiliar": float((~in_distribution).mean()),
        "coverage": float(is_answered.mean()),
        "accuracy": float(correct[is_answered].mean()) if is_answered.any() else None,
        "curve": coverage_curve(labels, probabilities),
    }
