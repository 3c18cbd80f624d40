"""PyTorch's own way: the module of a checkpoint, step by step."""

from threading import Lock

import numpy as np
import torch
from torch import Tensor

from cnn_classifier.card import Card
from cnn_classifier.data.augment import normalise, to_float
from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.engines import Answers
from cnn_classifier.errors import ConfigError
from cnn_classifier.familiarity import with_features
from cnn_classifier.hardware import device_of
from cnn_classifier.module import ImageClassifier


class EagerEngine:
    """A trained classifier on a device.

    Args:
        classifier: The trained module.
        card: Its preprocessing and temperature.
        device: `cpu`, `cuda`, `mps`; by default the fastest that is there.

    Raises:
        ConfigError: If there is no such device.
    """

    def __init__(self, classifier: ImageClassifier, card: Card, *, device: str | torch.device | None = None) -> None:
        try:
            self.device = torch.device(device) if device else device_of("auto")
            self.classifier = classifier.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
            told = str(error).splitlines()[0]
            raise ConfigError(f"device {device} cannot be used ({told}); expected cpu, cuda or mps") from error
        self.preprocess, self.temperature = card.preprocess, card.temperature
        self.looking = Lock()  # a pass keeps its features in the network

    @torch.inference_mode()
    def look(self, pixels: Pixels) -> Answers:
        logits, features = self.seen(pixels)
        probabilities = (logits.cpu().double() / self.temperature).softmax(dim=1).numpy()
        if self.classifier.familiarity is None or features is None:
            return Answers(probabilities, np.ones(len(pixels)))
        return Answers(probabilities, self.classifier.familiarity(features).cpu().double().numpy())

    @torch.inference_mode()
    def seen(self, pixels: Pixels) -> tuple[Tensor, Tensor | None]:
        """Final pixels uint8 (B, H, W, C) -> logits (B, K), and features (B, D) of networks that have them."""
        images = torch.from_numpy(np.require(pixels, requirements="W")).to(self.device).permute(0, 3, 1, 2)
        with self.looking:
            return with_features(self.classifier, normalise(to_float(images), self.preprocess))
