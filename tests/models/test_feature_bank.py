"""Tests of the detection of out-of-distribution images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.classifiers import make_classifier, save_checkpoint
from torch import nn

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.image_store import StreamedImages
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.inference.calibrate import calibrate_checkpoint
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.feature_bank import FeatureBank, forward_with_features, image_statistics
from cnn_classifier.training.checkpoints import add_calibration

RESNET = {"_target_": "cnn_classifier.models.resnet.ResNet", "widths": [16, 32], "stem_channels": 8, "stem_stride": 1}
MIN_SIMILARITY = 0.9


def make_red_images(count: int) -> Pixels:
    """Return images of shades of red, uint8 (count, 8, 8, 3)."""
    shades = np.linspace(120, 250, count).astype(np.uint8)
    images = np.zeros((count, 8, 8, 3), np.uint8)
    images[..., 0] = shades[:, None, None]
    return images


BLUE = np.full((8, 8, 3), (0, 0, 250), np.uint8)


@pytest.fixture
def red_predictor(tmp_path: Path) -> Predictor:
    """A predictor whose feature bank contains only red images."""
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    backend = Predictor.load(path, device="cpu").backend
    _, features = backend.forward_with_features(backend.to_images(make_red_images(30)))
    calibration = {"temperature": 1.0, "threshold": 0.01, "min_similarity": MIN_SIMILARITY}
    add_calibration(path, calibration, FeatureBank(features))
    return Predictor.load(path, device="cpu")


def test_dissimilar_image_is_rejected_and_similar_image_is_not(red_predictor: Predictor) -> None:
    red, blue = red_predictor.predict([make_red_images(1)[0], BLUE])
    assert (red.rejected, red.rejection_reason) == (False, None)
    assert red.similarity > MIN_SIMILARITY
    assert (blue.rejected, blue.rejection_reason) == (True, "out_of_distribution")
    assert blue.label == blue.top_k[0][0]
    assert blue.similarity < MIN_SIMILARITY
    assert blue.probability == blue.top_k[0][1] > 0.01  # not rejected for low confidence


def make_samples(make_folder: Callable[..., Path]) -> list[Sample]:
    """Return 20 images of each of three classes."""
    files = sorted(make_folder({"birds": 20, "cats": 20, "dogs": 20}).rglob("*.png"))
    return [Sample(file, index // 20) for index, file in enumerate(files)]


def calibrate_on(path: Path, references: list[Sample], samples: list[Sample]) -> Predictor:
    """Calibrate a checkpoint on validation samples, and return its new predictor."""
    before = Predictor.load(path, device="cpu")
    store = StreamedImages([sample.path for sample in [*references, *samples]], before.preprocess)
    calibrate_checkpoint(path, before, store, samples, references)
    return Predictor.load(path, device="cpu")


def test_calibrated_thresholds_accept_images_like_the_training_images(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    samples = make_samples(make_folder)
    after = calibrate_on(path, references=samples[::2], samples=samples[1::2])
    assert after.metadata.min_similarity is not None
    predictions = after.predict([sample.path for sample in samples[1::2]])
    rejected = [prediction for prediction in predictions if prediction.rejection_reason == "out_of_distribution"]
    assert len(rejected) <= 0.1 * len(samples)
    assert after.predict([BLUE])[0].rejection_reason == "out_of_distribution"


def test_calibrating_again_gives_the_same_checkpoint(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    samples = make_samples(make_folder)
    first, second = (calibrate_on(path, references=samples[::2], samples=samples[1::2]) for _ in range(2))
    assert first.metadata == second.metadata
    outputs = [predictor.predict_batch(make_red_images(4)).similarity for predictor in (first, second)]
    assert outputs[0].tolist() == outputs[1].tolist()


def test_too_few_validation_images_remove_thresholds_and_bank(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    samples = make_samples(make_folder)
    calibrate_on(path, references=samples[::2], samples=samples[1::2])
    few = calibrate_on(path, references=samples, samples=samples[::6])  # 10 images
    assert (few.metadata.threshold, few.metadata.min_similarity) == (0, None)
    assert few.backend.classifier.feature_bank is None
    assert few.predict(BLUE).rejected is False


def test_bank_without_image_statistics_is_read(tmp_path: Path) -> None:
    classifier = make_classifier(model=RESNET)
    calibration = {"temperature": 1.0, "threshold": 0.01, "min_similarity": 0.5}
    path = save_checkpoint(
        tmp_path / "best.ckpt", classifier, reference_features=torch.eye(32), calibration=calibration
    )
    prediction = Predictor.load(path, device="cpu").predict(BLUE)
    assert prediction.similarity is not None
    assert -1 <= prediction.similarity < 1


def test_threshold_zero_disables_rejection(red_predictor: Predictor) -> None:
    assert red_predictor.predict([BLUE], threshold=0)[0].rejected is False
    assert red_predictor.predict([BLUE], threshold=0.02)[0].rejection_reason == "out_of_distribution"
    red_predictor.metadata = replace(red_predictor.metadata, threshold=0.0)  # not calibrated, unlike the similarity
    assert red_predictor.predict([BLUE])[0].rejection_reason == "out_of_distribution"


def test_similarity_is_the_cosine_to_the_fifth_nearest_feature() -> None:
    bank = FeatureBank(torch.cat([torch.eye(2).repeat(2, 1), torch.tensor([[1.0, 1.0]]), torch.eye(2)]))
    images = torch.rand(1, 3, 8, 8)
    assert bank(torch.tensor([[3.0, 0.0]]), images).item() == pytest.approx(0)  # 1, 1, 1, 0.71, and 0
    assert bank(torch.tensor([[2.0, 2.0]]), images).item() == pytest.approx(0.5**0.5, abs=1e-3)


@pytest.mark.parametrize("size", [6, 8, 15, 16, 40])
def test_image_statistics_ignore_brightness_and_contrast_but_not_texture(size: int) -> None:
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    statistics = image_statistics(torch.cat([image, 0.5 * image + 0.2, torch.zeros_like(image)]))
    assert statistics[0].tolist() == pytest.approx(statistics[1].tolist(), abs=1e-4)
    assert (statistics[0] - statistics[2]).norm() > 1
    smooth = torch.nn.functional.avg_pool2d(image, 3, stride=1, padding=1)
    assert (statistics[0] - image_statistics(smooth)[0]).norm() > 0.5


def test_unusual_statistics_lower_the_similarity_to_the_threshold_at_the_limit() -> None:
    bank = FeatureBank(torch.ones(30, 2), torch.zeros(30, 8))
    images = torch.rand(1, 3, 16, 16)
    distance = bank.distances(image_statistics(images)).item()
    for factor, expected in ((1.0, 0.9), (2.0, 0.95), (1e-6, -1)):  # of the distance, the limit
        bank = FeatureBank(torch.ones(30, 2), torch.zeros(30, 8))
        bank.set_scale(factor * distance, min_similarity=0.9)
        assert bank(torch.ones(1, 2), images).item() == pytest.approx(expected, abs=1e-4)
    restored = FeatureBank.from_tensors(bank.to_tensors())
    assert restored(torch.ones(1, 2), images).item() == bank(torch.ones(1, 2), images).item()


def test_network_without_linear_layer_has_no_features() -> None:
    pooling = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    logits, features = forward_with_features(pooling, torch.rand(2, 3, 4, 4))
    assert logits.shape == (2, 2)
    assert features is None
