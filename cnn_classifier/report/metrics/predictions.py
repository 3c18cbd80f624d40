"""The file `predictions.csv` with the predicted class of each test image."""

import csv
from collections.abc import Iterable
from pathlib import Path

from cnn_classifier.files import PREDICTIONS_FILE, write_csv

COLUMNS = ("path", "label", "predicted", "probability")


def write_predictions(folder: Path, rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Write `predictions.csv`.

    Args:
        folder: The folder of the run.
        rows: The path, true class name, predicted class name and probability of each image.
    """
    write_csv(folder / PREDICTIONS_FILE, [COLUMNS, *rows])


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """Read `predictions.csv`, one dict per image.

    Args:
        folder: The folder of the run.

    Raises:
        OSError: If the file cannot be read.
    """
    with (folder / PREDICTIONS_FILE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))
