"""What validation images tell a checkpoint of itself: how sure it may say it is, and what is familiar to it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.evaluate import evaluate_images, iter_batches
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.feature_bank import MAX_FEATURES, FeatureBank, build_feature_bank
from cnn_classifier.report.metrics.calibration import calibrate
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.training.checkpoints import add_calibration


def calibrate_checkpoint(path: Path, predictor: Predictor, images: ImageStore, samples: Sequence[Sample]) -> Evaluation:
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
    feature_bank = collect_reference_features(predictor, images, samples)
    reference_similarity = None if feature_bank is None else feature_bank.leave_one_out().cpu().numpy()
    calibration = calibrate(evaluation.labels, evaluation.uncalibrated, reference_similarity)
    add_calibration(path, asdict(calibration), feature_bank)
    return evaluation


def collect_reference_features(
    predictor: Predictor, images: ImageStore, samples: Sequence[Sample]
) -> FeatureBank | None:
    """What some of these images, evenly spread, make familiar; None of too few, and of models that show no features."""
    if not isinstance(predictor.backend, PyTorchBackend):
        return None
    subset = samples[:: -(-len(samples) // MAX_FEATURES)]
    rows = images.get_rows([sample.path for sample in subset])
    batches = images.iter_batches(iter_batches(rows, predictor.batch_size))
    batch_features = [predictor.backend.forward_with_features(pixels)[1] for pixels in batches]
    return build_feature_bank([features for features in batch_features if features is not None])
