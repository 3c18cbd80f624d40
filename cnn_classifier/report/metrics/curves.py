"""ROC and precision-recall curves for binary classification."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

MAX_POINTS = 200  # per curve; more points are not visible in a chart


def binary_curves(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the ROC curve and the precision-recall curve, each with its area and its best threshold.

    Args:
        labels: The true classes, 1 for the positive class, shape (N,).
        scores: The probabilities of the positive class, shape (N,).

    Returns:
        `roc`, whose best threshold maximizes Youden's J statistic (1950), and `precision_recall`, whose best threshold
        maximizes F1. An empty dict if only one of the classes occurs.
    """
    if len(np.unique(labels)) < 2:
        return {}
    fpr, tpr, thresholds = roc_curve(labels, scores)
    best_index = int((tpr - fpr)[1:].argmax()) + 1  # the first threshold is above all scores
    roc = {
        "auc": float(roc_auc_score(labels, scores)),
        "best": {
            "threshold": float(thresholds[best_index]),
            "false_positive_rate": float(fpr[best_index]),
            "true_positive_rate": float(tpr[best_index]),
        },
        "points": resample(fpr, tpr, best_index),
    }
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best_index = int(f1[:-1].argmax())  # the last point has no threshold
    precision_recall = {
        "average_precision": float(average_precision_score(labels, scores)),
        "best": {
            "threshold": float(thresholds[best_index]),
            "precision": float(precision[best_index]),
            "recall": float(recall[best_index]),
            "f1": float(f1[best_index]),
        },
        "points": resample(recall, precision, best_index),
    }
    return {"roc": roc, "precision_recall": precision_recall}


def resample(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], index: int) -> list[list[float]]:
    """Return about `MAX_POINTS` points, evenly spaced along the curve, with both ends and the point at `index`."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    distance = np.concatenate([[0.0], steps.cumsum()])
    targets = np.linspace(0, distance[-1], min(MAX_POINTS, len(x)))
    indices = np.unique(np.minimum(np.searchsorted(distance, targets), len(x) - 1))
    indices = np.union1d(indices, [0, index, len(x) - 1])
    return [[round(float(x[i]), 5), round(float(y[i]), 5)] for i in indices]
