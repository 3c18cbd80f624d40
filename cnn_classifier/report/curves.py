"""With two classes: what one gains and loses as the probability from which on an image counts as the second moves."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

POINTS = 200  # more cannot be seen in a chart


def two_class_curves(labels: npt.NDArray[np.int64], sure: npt.NDArray[np.float64]) -> dict[str, Any]:
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
    false, true, cuts = roc_curve(labels, sure)
    best = int((true - false)[1:].argmax()) + 1  # the first threshold is above all images
    roc = {
        "area": float(roc_auc_score(labels, sure)),
        "best": {
            "threshold": float(cuts[best]),
            "false_positive_rate": float(false[best]),
            "true_positive_rate": float(true[best]),
        },
        "points": thinned(false, true),
    }
    precision, recall, cuts = precision_recall_curve(labels, sure)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(f1[:-1].argmax())  # the last point is above all images
    precision_recall = {
        "area": float(average_precision_score(labels, sure)),
        "best": {
            "threshold": float(cuts[best]),
            "precision": float(precision[best]),
            "recall": float(recall[best]),
            "f1": float(f1[best]),
        },
        "points": thinned(recall, precision),
    }
    return {"roc": roc, "precision_recall": precision_recall}


def thinned(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> list[list[float]]:
    """So many of the points, both ends among them, evenly spaced along the curve."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    along = np.concatenate([[0.0], steps.cumsum()])
    wanted = np.linspace(0, along[-1], min(POINTS, len(x)))
    kept = np.unique(np.minimum(np.searchsorted(along, wanted), len(x) - 1))
    kept = np.union1d(kept, [0, len(x) - 1])
    return [[round(float(x[index]), 5), round(float(y[index]), 5)] for index in kept]
