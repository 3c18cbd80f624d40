"""What looks like nothing that a network was validated on is unknown, however sure it is."""

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
from cnn_classifier.inference.predictor import UNKNOWN, Predictor
from cnn_classifier.models.feature_bank import MIN_FEATURES, FeatureBank, build_feature_bank, forward_with_features
from cnn_classifier.training.checkpoints import add_calibration

RESNET = {"_target_": "cnn_classifier.models.resnet.ResNet", "widths": [16, 32], "stem_channels": 8, "stem_stride": 1}
LEAST = 0.9


def reds(number: int) -> Pixels:
    """Shades of red, (N, 8, 8, 3)."""
    shades = np.linspace(120, 250, number).astype(np.uint8)
    images = np.zeros((number, 8, 8, 3), np.uint8)
    images[..., 0] = shades[:, None, None]
    return images


BLUE = np.full((8, 8, 3), (0, 0, 250), np.uint8)


@pytest.fixture
def of_reds(tmp_path: Path) -> Predictor:
    """A network that has been shown shades of red alone."""
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    _, features = Predictor.load(path, device="cpu").backend.seen(reds(30))
    known = {"temperature": 1.0, "threshold": 0.01, "min_similarity": LEAST}
    add_calibration(path, known, build_feature_bank([features[:20], features[20:]]))
    return Predictor.load(path, device="cpu")


def test_what_it_has_seen_the_like_of_is_answered_and_what_it_has_not_is_unknown(of_reds: Predictor) -> None:
    red, blue = of_reds.predict([reds(1)[0], BLUE])
    assert red.label == red.top_k[0][0]
    assert red.similarity > LEAST
    assert blue.label == UNKNOWN
    assert blue.similarity < LEAST
    assert blue.probability == blue.top_k[0][1] > 0.01  # sure enough


def test_validation_images_set_both_thresholds_so_that_nearly_all_of_them_are_answered(
    tmp_path: Path, make_folder: Callable[..., Path]
) -> None:
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier(model=RESNET))
    files = sorted(make_folder({"birds": 20, "cats": 20, "dogs": 20}).rglob("*.png"))
    samples = [Sample(file, index // 20) for index, file in enumerate(files)]
    before = Predictor.load(path, device="cpu")

    calibrate_checkpoint(path, before, StreamedImages(files, before.preprocess), samples)

    after = Predictor.load(path, device="cpu")
    assert after.metadata.min_similarity is not None
    answers = after.predict(files)
    right = [answer for answer, sample in zip(answers, samples, strict=True) if answer.top_k[0][0] in str(sample.path)]
    assert sum(answer.label == UNKNOWN for answer in right) <= 0.1 * len(right)
    assert after.predict(BLUE)[0].similarity < after.metadata.min_similarity


def test_a_threshold_of_zero_answers_whatever_comes(of_reds: Predictor) -> None:
    assert of_reds.predict(BLUE, threshold=0)[0].label != UNKNOWN
    assert of_reds.predict(BLUE, threshold=0.02)[0].label == UNKNOWN


def test_familiarity_is_the_cosine_with_the_fifth_nearest() -> None:
    known = torch.cat([torch.eye(2).repeat(2, 1), torch.tensor([[1.0, 1.0]]), torch.eye(2)])
    assert FeatureBank(known)(torch.tensor([[3.0, 0.0]])).item() == pytest.approx(0)  # 1, 1, 1, 0.71, and 0
    assert FeatureBank(known)(torch.tensor([[2.0, 2.0]])).item() == pytest.approx(0.5**0.5)


def test_a_known_image_is_compared_with_the_others() -> None:
    alike = torch.ones(6, 2)
    alone = torch.tensor([[1.0, -1.0]])
    assert FeatureBank(torch.cat([alike, alone])).leave_one_out().tolist() == pytest.approx([1] * 6 + [0])


def test_too_few_images_and_networks_without_a_dense_layer_make_nothing_familiar() -> None:
    assert build_feature_bank([torch.rand(MIN_FEATURES - 1, 3)]) is None
    pooling = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    logits, features = forward_with_features(pooling, torch.rand(2, 3, 4, 4))
    assert logits.shape == (2, 2)
    assert features is None
