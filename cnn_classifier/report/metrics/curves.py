"""With two classes: what one gains and loses as the probability from which on an image counts as the second moves."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

MAX_POINTS = 200  # more cannot be seen in a chart


def binary_curves(labels: npt.NDArray[np.int64], scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The ROC and the precision-recall curve, each with its area and its best threshold.

    Args:
        labels: 1 for the positive class, (N,).
        sure: Probability of the positive class, (N,).

    Returns:
        `roc`, whose best threshold is the furthest above chance (Youden 1950), and `precision_recall`, whose best one
        has the highest F1. Empty where but one of the classes occurs.
    """
    if len(np.unique(labels)) < 2:
        return {}
    fpr, tpr, thresholds = roc_curve(labels, scores)
    best_index = int((tpr - fpr)[1:].argmax()) + 1  # the first threshold is above all images
    roc = {
        "area": float(roc_auc_score(labels, scores)),
        "best": {
            "threshold": float(thresholds[best_index]),
            "false_positive_rate": float(fpr[best_index]),
            "true_positive_rate": float(tpr[best_index]),
        },
        "points": resample(fpr, tpr),
    }
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best_index = int(f1[:-1].argmax())  # the last point is above all images
    precision_recall = {
        "area": float(average_precision_score(labels, scores)),
        "best": {
            "threshold": float(thresholds[best_index]),
            "precision": float(precision[best_index]),
            "recall": float(recall[best_index]),
            "f1": float(f1[best_index]),
        },
        "points": resample(recall, precision),
    }
    return {"roc": roc, "precision_recall": precision_recall}


def resample(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[list[float]]:
    """So many of the points, both ends among them, evenly spaced along the curve."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    distance = np.concatenate([[0.0], steps.cumsum()])
    targets = np.linspace(0, distance[-1], min(MAX_POINTS, len(x)))
    indices = np.unique(np.minimum(np.searchsorted(distance, targets), len(x) - 1))
    indices = np.union1d(indices, [0, len(x) - 1])
    return [[round(float(x[index]), 5), round(float(y[index]), 5)] for index in indices]
