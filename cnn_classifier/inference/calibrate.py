"""Calibration of a checkpoint on the validation split: temperature, rejection thresholds and reference features."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.evaluate import evaluate_images, iter_batches
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.feature_bank import MAX_FEATURES, FeatureBank, build_feature_bank
from cnn_classifier.report.metrics.calibration import apply_temperature, calibrate
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.training.checkpoints import add_calibration


def calibrate_checkpoint(path: Path, predictor: Predictor, images: ImageStore, samples: Sequence[Sample]) -> Evaluation:
    """Add temperature, rejection thresholds and reference features to a checkpoint.

    Args:
        path: The path of the checkpoint, which is updated.
        predictor: The predictor of the checkpoint.
        images: The preprocessed pixels of the validation images.
        samples: The validation images and their labels.

    Returns:
        The evaluation on the validation images with the new temperature.
    """
    predictor = without_calibration(predictor)
    evaluation = evaluate_images(predictor, images, samples)
    feature_bank = collect_reference_features(predictor, images, samples)
    reference_similarity = None if feature_bank is None else feature_bank.leave_one_out().cpu().numpy()
    calibration = calibrate(evaluation.labels, evaluation.probabilities, reference_similarity)
    add_calibration(path, asdict(calibration), feature_bank)
    probabilities = apply_temperature(evaluation.probabilities, calibration.temperature)
    return replace(evaluation, probabilities=probabilities, temperature=calibration.temperature)


def without_calibration(predictor: Predictor) -> Predictor:
    """Return a predictor with temperature 1 that rejects nothing.

    The best checkpoint of a finished run is calibrated again when the run is resumed. The second calibration equals the
    first one only if it starts from the same logits.
    """
    metadata = replace(predictor.metadata, temperature=1.0, threshold=0.0, min_similarity=None)
    backend = predictor.backend
    if isinstance(backend, PyTorchBackend):
        backend = PyTorchBackend(backend.classifier, metadata, device=backend.device)
    return Predictor(backend, metadata, batch_size=predictor.batch_size)


def collect_reference_features(
    predictor: Predictor, images: ImageStore, samples: Sequence[Sample]
) -> FeatureBank | None:
    """Build a feature bank from at most `MAX_FEATURES` evenly spaced images.

    Args:
        predictor: The predictor of the checkpoint.
        images: The preprocessed pixels of the images.
        samples: The images.

    Returns:
        The feature bank, or None if there are too few images or the model exposes no features.
    """
    if not isinstance(predictor.backend, PyTorchBackend):
        return None
    subset = samples[:: -(-len(samples) // MAX_FEATURES)]
    rows = images.get_rows([sample.path for sample in subset])
    batches = images.iter_batches(iter_batches(rows, predictor.batch_size))
    batch_features = [predictor.backend.forward_with_features(pixels)[1] for pixels in batches]
    return build_feature_bank([features for features in batch_features if features is not None])
