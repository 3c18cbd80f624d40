"""Selection of labeled images for verifying an export."""

from pathlib import Path

from cnn_classifier.data.sources.class_names import rename_classes
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.data.sources.resolve import scan_for_evaluation
from cnn_classifier.errors import DataError
from cnn_classifier.files import PREDICTIONS_FILE
from cnn_classifier.inference.evaluate import map_labels_to_model
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.metrics.predictions import read_predictions
from cnn_classifier.training.checkpoints import find_run_dir

MAX_IMAGES = 1000


def sample_images(model: Path, folder: Path | None, predictor: Predictor) -> list[Sample]:
    """Return at most `MAX_IMAGES` evenly spaced labeled images.

    Args:
        model: The path of the checkpoint or of its run directory.
        folder: A folder of labeled images. None selects the test images of the run.
        predictor: The predictor of the checkpoint, which provides class names and aliases.

    Raises:
        DataError: If there are no images.
    """
    if folder is not None:
        index = rename_classes(scan_for_evaluation(folder.expanduser()), predictor.metadata.aliases)
        samples = map_labels_to_model(index, predictor.class_names).samples
    else:
        samples = select_test_samples(model, predictor)
    if not samples:
        raise DataError(
            f"{model} has no test images, or they no longer exist. Pass labeled images with --images FOLDER."
        )
    return samples[:: -(-len(samples) // MAX_IMAGES)]


def select_test_samples(model: Path, predictor: Predictor) -> list[Sample]:
    """Return the images in the `predictions.csv` of a run that still exist."""
    run_dir = model if model.is_dir() else find_run_dir(model)
    if run_dir is None or not (run_dir / PREDICTIONS_FILE).is_file():
        return []
    label_by_name = {name: label for label, name in enumerate(predictor.class_names)}
    rows = [(Path(row["path"]), row["label"]) for row in read_predictions(run_dir)]
    return [Sample(path, label_by_name[name]) for path, name in rows if name in label_by_name and path.is_file()]
