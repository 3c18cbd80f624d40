"""What validation images tell a checkpoint of itself: how sure it may say it is, and what is familiar to it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cnn_classifier.checkpoint import write_calibration
from cnn_classifier.data.folder import Sample
from cnn_classifier.data.store import ImageStore
from cnn_classifier.engines.eager import EagerEngine
from cnn_classifier.evaluate import evaluate_images, in_batches
from cnn_classifier.familiarity import MOST_KNOWN, Familiarity, familiarity_of
from cnn_classifier.predictor import Predictor
from cnn_classifier.report.calibration import calibrate
from cnn_classifier.report.evaluation import Evaluation


def write_self_knowledge(path: Path, predictor: Predictor, images: ImageStore, samples: Sequence[Sample]) -> Evaluation:
    """Add temperature, thresholds and familiar images to a checkpoint.

    Args:
        path: The checkpoint.
        predictor: Made of it.
        images: Where the validation images' pixels are.
        samples: The validation images.

    Returns:
        The answers on them, before any of it.
    """
    evaluation = evaluate_images(predictor, images, samples)
    familiarity = familiar_images(predictor, images, samples)
    of_known = None if familiarity is None else familiarity.of_known().cpu().numpy()
    calibration = calibrate(evaluation.labels, evaluation.uncalibrated, of_known)
    write_calibration(path, asdict(calibration), familiarity)
    return evaluation


def familiar_images(predictor: Predictor, images: ImageStore, samples: Sequence[Sample]) -> Familiarity | None:
    """What some of these images, evenly spread, make familiar; None of too few, and of models that show no features."""
    if not isinstance(predictor.engine, EagerEngine):
        return None
    spread = samples[:: -(-len(samples) // MOST_KNOWN)]
    rows = images.rows([sample.path for sample in spread])
    batches = images.batches(in_batches(rows, predictor.batch_size))
    seen = [predictor.engine.seen(pixels)[1] for pixels in batches]
    return familiarity_of([features for features in seen if features is not None])
