"""Coverage and accuracy of selective prediction."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cnn_classifier.report.metrics.calibration import Labels, Probabilities


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
