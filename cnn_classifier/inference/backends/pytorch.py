"""PyTorch's own way: the module of a checkpoint, step by step."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from cnn_classifier.config.instantiate import check_trusted_target
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.augment import normalize, to_float
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.models.feature_bank import FeatureBank, forward_with_features
from cnn_classifier.training.checkpoints import read_checkpoint
from cnn_classifier.training.devices import resolve_device
from cnn_classifier.training.module import ImageClassifier


class PyTorchBackend:
    """A trained classifier on a device.

    Args:
        classifier: The trained module.
        card: Its preprocessing and temperature.
        device: `cpu`, `cuda`, `mps`; by default the fastest that is there.

    Raises:
        ConfigError: If there is no such device.
    """

    def __init__(
        self, classifier: ImageClassifier, metadata: ModelMetadata, *, device: str | torch.device | None = None
    ) -> None:
        try:
            self.device = torch.device(device) if device else resolve_device("auto")
            self.classifier = classifier.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
            detail = str(error).splitlines()[0]
            raise ConfigError(f"device {device} cannot be used ({detail}); expected cpu, cuda or mps") from error
        self.preprocess, self.temperature = metadata.preprocess, metadata.temperature
        self._lock = Lock()  # a pass keeps its features in the network

    @torch.inference_mode()
    def predict(self, pixels: Pixels) -> ModelOutput:
        logits, features = self.forward_with_features(pixels)
        probabilities = (logits.cpu().double() / self.temperature).softmax(dim=1).numpy()
        if self.classifier.feature_bank is None or features is None:
            return ModelOutput(probabilities, np.ones(len(pixels)))
        return ModelOutput(probabilities, self.classifier.feature_bank(features).cpu().double().numpy())

    @torch.inference_mode()
    def forward_with_features(self, pixels: Pixels) -> tuple[Tensor, Tensor | None]:
        """Final pixels uint8 (B, H, W, C) -> logits (B, K), and features (B, D) of networks that have them."""
        images = torch.from_numpy(np.require(pixels, requirements="W")).to(self.device).permute(0, 3, 1, 2)
        with self._lock:
            return forward_with_features(self.classifier, normalize(to_float(images), self.preprocess))


def load_classifier(path: str | Path, *, trusted: Sequence[str] = ()) -> tuple[ImageClassifier, ModelMetadata]:
    """The trained classifier, ready to predict on the CPU, and what its answers mean; the file alone is enough.

    Args:
        path: A checkpoint, or the folder of a run, whose best one it is then.
        trusted: Import paths, such as `mypackage.nets.`, of networks of your own that it may name.

    Raises:
        CheckpointError: If it is missing, damaged or not ours, or names a network outside ours and `trusted`.
    """
    checkpoint = read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        check_trusted_target(hparams["model"], trusted)
    except (CheckpointError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        classifier = ImageClassifier(**hparams)
        classifier.load_state_dict(checkpoint["state_dict"])
        classifier.feature_bank = (
            FeatureBank(checkpoint["reference_features"]) if "reference_features" in checkpoint else None
        )
        metadata = ModelMetadata(
            class_names=classifier.class_names,
            preprocess=classifier.preprocess,
            aliases=classifier.aliases,
            **checkpoint.get("calibration", {}),
        )
    except (ConfigError, TypeError, KeyError, RuntimeError) as error:
        detail = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its network do not fit together ({detail})") from error
    return classifier.eval(), metadata
