"""Real images to try an export on."""

import csv
from pathlib import Path

from cnn_classifier.checkpoint import run_dir_of
from cnn_classifier.data.folder import Sample
from cnn_classifier.data.naming import renamed
from cnn_classifier.data.source import scan_to_test
from cnn_classifier.errors import DataError
from cnn_classifier.evaluate import samples_to_test
from cnn_classifier.predictor import Predictor

PREDICTIONS = "predictions.csv"
MOST = 1000


def images_to_try(model: Path, folder: Path | None, predictor: Predictor) -> list[Sample]:
    """Labelled images, evenly spread: of a folder, or else those that the run of a checkpoint was tested on.

    Raises:
        DataError: If there are none.
    """
    if folder is not None:
        scan = renamed(scan_to_test(folder.expanduser()), predictor.card.aliases)
        samples = samples_to_test(scan, predictor.class_names)
    else:
        samples = tested_samples(model, predictor)
    if not samples:
        raise DataError(f"{model}: the images that it was tested on are gone; give some with --images FOLDER")
    return samples[:: -(-len(samples) // MOST)]


def tested_samples(model: Path, predictor: Predictor) -> list[Sample]:
    """Those of a run's `predictions.csv` that are still there."""
    run_dir = model if model.is_dir() else run_dir_of(model)
    tested = run_dir / PREDICTIONS if run_dir is not None else None
    if tested is None or not tested.is_file():
        return []
    label_of = {name: label for label, name in enumerate(predictor.class_names)}
    with tested.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = [(Path(row["path"]), row["label"]) for row in csv.DictReader(file)]
    return [Sample(path, label_of[name]) for path, name in rows if name in label_of and path.is_file()]
