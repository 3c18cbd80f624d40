"""Tests of the detection of out-of-distribution images."""

from collections.abc import Callable
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
from cnn_classifier.models.feature_bank import MIN_FEATURES, FeatureBank, build_feature_bank, forward_with_features
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
    _, features = Predictor.load(path, device="cpu").backend.forward_with_features(make_red_images(30))
    calibration = {"temperature": 1.0, "threshold": 0.01, "min_similarity": MIN_SIMILARITY}
    add_calibration(path, calibration, build_feature_bank([features[:20], features[20:]]))
    return Predictor.load(path, device="cpu")


def test_dissimilar_image_is_rejected_and_similar_image_is_not(red_predictor: Predictor) -> None:
    red, blue = red_predictor.predict([make_red_images(1)[0], BLUE])
    assert (red.rejected, red.rejection_reason) == (False, None)
    assert red.similarity > MIN_SIMILARITY
    assert (blue.rejected, blue.rejection_reason) == (True, "out_of_distribution")
    assert blue.label == blue.top_k[0][0]
    assert blue.similarity < MIN_SIMILARITY
    assert blue.probability == blue.top_k[0][1] > 0.01  # not rejected for low confidence


def test_calibrated_thresholds_accept_most_validation_images(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    files = sorted(make_folder({"birds": 20, "cats": 20, "dogs": 20}).rglob("*.png"))
    samples = [Sample(file, index // 20) for index, file in enumerate(files)]
    before = Predictor.load(path, device="cpu")

    calibrate_checkpoint(path, before, StreamedImages(files, before.preprocess), samples)

    after = Predictor.load(path, device="cpu")
    assert after.metadata.min_similarity is not None
    predictions = after.predict(files)
    correct = [
        prediction
        for prediction, sample in zip(predictions, samples, strict=True)
        if prediction.top_k[0][0] in str(sample.path)
    ]
    assert sum(prediction.rejected for prediction in correct) <= 0.1 * len(correct)
    assert after.predict([BLUE])[0].similarity < after.metadata.min_similarity


def test_threshold_zero_disables_rejection(red_predictor: Predictor) -> None:
    assert red_predictor.predict([BLUE], threshold=0)[0].rejected is False
    assert red_predictor.predict([BLUE], threshold=0.02)[0].rejection_reason == "out_of_distribution"


def test_similarity_is_the_cosine_to_the_fifth_nearest_feature() -> None:
    features = torch.cat([torch.eye(2).repeat(2, 1), torch.tensor([[1.0, 1.0]]), torch.eye(2)])
    assert FeatureBank(features)(torch.tensor([[3.0, 0.0]])).item() == pytest.approx(0)  # 1, 1, 1, 0.71, and 0
    assert FeatureBank(features)(torch.tensor([[2.0, 2.0]])).item() == pytest.approx(0.5**0.5)


def test_leave_one_out_excludes_the_image_itself() -> None:
    cluster = torch.ones(6, 2)
    outlier = torch.tensor([[1.0, -1.0]])
    assert FeatureBank(torch.cat([cluster, outlier])).leave_one_out().tolist() == pytest.approx([1] * 6 + [0])


def test_too_few_images_or_no_linear_layer_gives_no_feature_bank() -> None:
    assert build_feature_bank([torch.rand(MIN_FEATURES - 1, 3)]) is None
    pooling = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    logits, features = forward_with_features(pooling, torch.rand(2, 3, 4, 4))
    assert logits.shape == (2, 2)
    assert features is None
