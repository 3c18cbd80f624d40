"""Fixtures for exports: labeled images and a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.classifiers import make_classifier, save_checkpoint

from cnn_classifier.models.feature_bank import MIN_REFERENCES, FeatureBank, image_statistics
from cnn_classifier.training.checkpoints import add_calibration


@pytest.fixture
def photos(make_folder: Callable[..., Path]) -> Path:
    """A folder of three labeled images per class."""
    return make_folder({"birds": 3, "cats": 3, "dogs": 3})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A calibrated checkpoint with reference features."""
    path = save_checkpoint(tmp_path / "best.ckpt", make_classifier())
    images = torch.rand(MIN_REFERENCES, 3, 8, 8)
    feature_bank = FeatureBank(torch.rand(MIN_REFERENCES, 4), image_statistics(images))
    feature_bank.set_scale(10.0, min_similarity=0.9)
    add_calibration(path, {"temperature": 1.7, "threshold": 0.35, "min_similarity": 0.9}, feature_bank)
    return path
