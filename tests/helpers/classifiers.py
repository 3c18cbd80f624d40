"""Small classifiers and their checkpoints, and a malicious pickle."""

import os
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.training.module import ImageClassifier

HPARAMS: dict[str, Any] = {
    "model": {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "hidden_dim": 4},
    "class_names": ["birds", "cats", "dogs"],
    "preprocess": {"image_size": 8, "channels": 3, "resize": "stretch", "mean": [0.5] * 3, "std": [0.25] * 3},
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "warmup_epochs": 0.0},
    "loss": {"label_smoothing": 0.0, "class_weights": None},
}


def make_classifier(**overrides: Any) -> ImageClassifier:
    """Create an untrained classifier from `HPARAMS`, of which some may be overridden."""
    torch.manual_seed(0)
    return ImageClassifier(**HPARAMS | overrides)


def save_checkpoint(path: Path, classifier: ImageClassifier, **overrides: Any) -> Path:
    """Save a checkpoint as training does, of which some entries may be overridden, and return its path."""
    checkpoint = {
        "cnn_classifier": {"format": 1, "version": "0"},
        "hyper_parameters": dict(classifier.hparams),
        "state_dict": classifier.state_dict(),
    }
    torch.save(checkpoint | overrides, path)
    return path


class MaliciousPickle:
    """An object whose unpickling creates a directory.

    Args:
        sentinel: The directory to create.
    """

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sentinel),)
