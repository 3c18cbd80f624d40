"""A checkpoint alone answers for files and arrays, and one that cannot be trusted does nothing at all."""

import os
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.training.module import ImageClassifier

SETTINGS: dict[str, Any] = {
    "model": {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "hidden_dim": 4},
    "class_names": ["birds", "cats", "dogs"],
    "preprocess": {"image_size": 8, "channels": 3, "resize": "stretch", "mean": [0.5] * 3, "std": [0.25] * 3},
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "warmup_epochs": 0.0},
    "loss": {"label_smoothing": 0.0, "class_weights": None},
}


def classifier(**settings: Any) -> ImageClassifier:
    torch.manual_seed(0)
    return ImageClassifier(**SETTINGS | settings)


def checkpoint(path: Path, module: ImageClassifier, **changed: Any) -> Path:
    """What a training would have saved, with some of it changed."""
    hyper_parameters, weights = dict(module.hparams), module.state_dict()
    ours = {"format": 1, "version": "0"}
    torch.save({"cnn_classifier": ours, "hyper_parameters": hyper_parameters, "state_dict": weights} | changed, path)
    return path


class Malicious:
    """What unpickling it does: run a function of its own choice."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.sentinel),)
