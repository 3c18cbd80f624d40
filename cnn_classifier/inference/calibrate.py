"""Calibration of a checkpoint on the validation split: temperature, rejection thresholds and feature bank."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.evaluate import evaluate_images, iter_batches
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.feature_bank import MAX_REFERENCES, MIN_REFERENCES, FeatureBank, image_statistics
from cnn_classifier.report.metrics.calibration import (
    OUT_OF_DISTRIBUTION_FRACTION,
    RELIABLE_IMAGES,
    apply_temperature,
    calibrate,
    rejection_threshold,
)
from cnn_classifier.report.metrics.evaluation import Evaluation
from cnn_classifier.training.checkpoints import add_calibration

Features = tuple[Tensor, Tensor]  # the features (M, D) and `image_statistics` (M, S) of images


def calibrate_checkpoint(
    path: Path, predictor: Predictor, images: ImageStore, samples: Sequence[Sample], references: Sequence[Sample]
) -> Evaluation:
    """Add temperature, rejection thresholds and a feature bank to a checkpoint.

    Args:
        path: The path of the checkpoint, which is updated.
        predictor: The predictor of the checkpoint.
        images: The preprocessed pixels of the validation and training images.
        samples: The validation images and their labels.
        references: The training images, with which the feature bank compares other images.

    Returns:
        The evaluation on the validation images with the new temperature. Without validation images, the checkpoint is
        not changed.
    """
    predictor = without_calibration(predictor)
    evaluation = replace(evaluate_images(predictor, images, samples), split="val")
    if not samples:
        return evaluation
    known, held_out = (collect_features(predictor, images, group) for group in (references, samples))
    feature_bank, min_similarity = build_feature_bank(known, held_out)
    calibration = calibrate(evaluation.labels, evaluation.probabilities, min_similarity)
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


def build_feature_bank(known: Features | None, held_out: Features | None) -> tuple[FeatureBank | None, float | None]:
    """Build a feature bank of training images and determine the minimum similarity on validation images.

    Features and image statistics each reject `OUT_OF_DISTRIBUTION_FRACTION` of images like the validation images.
    Statistics, unlike features, do not depend on the training, so that the distances of the training images to each
    other determine their limit. It is higher if the validation images, given enough of them, are less similar, as those
    of other groups are.

    Args:
        known: The features and statistics of training images.
        held_out: Those of validation images.

    Returns:
        The feature bank and the minimum similarity, or None and None if there are too few images or no features.
    """
    if known is None or held_out is None or len(known[0]) < MIN_REFERENCES:
        return None, None
    bank = FeatureBank(*known)
    similarities = bank.feature_similarities(held_out[0])
    min_similarity = rejection_threshold(similarities.cpu().numpy(), OUT_OF_DISTRIBUTION_FRACTION)
    if min_similarity is None:
        return None, None
    distances = [bank.leave_one_out_distances()]
    if len(similarities) >= RELIABLE_IMAGES:
        distances.append(bank.distances(held_out[1]))
    limits = [rejection_threshold(-group.cpu().numpy(), OUT_OF_DISTRIBUTION_FRACTION) for group in distances]
    bank.set_scale(max(-limit for limit in limits if limit is not None), min_similarity)
    return bank, min_similarity


def collect_features(predictor: Predictor, images: ImageStore, samples: Sequence[Sample]) -> Features | None:
    """Return the features (M, D) and statistics (M, S) of at most `MAX_REFERENCES` evenly spaced images.

    Args:
        predictor: The predictor of the checkpoint.
        images: The preprocessed pixels of the images.
        samples: The images.

    Returns:
        None if there are no images or the model exposes no features.
    """
    backend = predictor.backend
    if not isinstance(backend, PyTorchBackend) or not samples:
        return None
    subset = samples[:: -(-len(samples) // MAX_REFERENCES)]
    rows = images.get_rows([sample.path for sample in subset])
    features, statistics = [], []
    for pixels in images.iter_batches(iter_batches(rows, predictor.batch_size)):
        batch = backend.to_images(pixels)
        batch_features = backend.forward_with_features(batch)[1]
        if batch_features is None:
            return None
        features.append(batch_features)
        statistics.append(image_statistics(batch))
    return torch.cat(features), torch.cat(statistics)
