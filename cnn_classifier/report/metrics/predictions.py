"""The file `predictions.csv` with the predicted class of each test image."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.files import PREDICTIONS_FILE, write_csv

COLUMNS = ("path", "label", "predicted", "probability", "rejected", "rejection_reason")


def write_predictions(folder: Path, rows: Iterable[tuple[str, str, str, float, str]]) -> None:
    """Write `predictions.csv`.

    Args:
        folder: The folder of the run.
        rows: The path, true class name, predicted class name, probability and reason of rejection of each image. The
            reason is empty if the prediction is not rejected.
    """
    cells = [
        (path, label, predicted, f"{probability:.6f}", str(bool(reason)).lower(), reason)
        for path, label, predicted, probability, reason in rows
    ]
    write_csv(folder / PREDICTIONS_FILE, [COLUMNS, *cells])


def find_rejection_reasons(
    confidence: npt.NDArray[np.float64], threshold: float, in_distribution: npt.NDArray[np.bool_] | None
) -> list[str]:
    """Return the reason why each prediction is rejected, as in `Prediction`; empty if it is not.

    Args:
        confidence: The probability of the predicted class of each image, (N,).
        threshold: The minimum probability.
        in_distribution: The mask of in-distribution images, (N,). None accepts all images.
    """
    low_confidence = np.where(confidence < threshold, "low_confidence", "")
    outside = False if in_distribution is None else ~in_distribution
    return np.where(outside, "out_of_distribution", low_confidence).tolist()


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """Read `predictions.csv`, one dict per image.

    Args:
        folder: The folder of the run.

    Raises:
        OSError: If the file cannot be read.
    """
    with (folder / PREDICTIONS_FILE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))
