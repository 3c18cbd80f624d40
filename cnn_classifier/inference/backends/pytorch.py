"""PyTorch backend: the `ImageClassifier` of a checkpoint in eager mode."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnn_classifier.config.instantiate import check_trusted_hparams, without_pretrained_weights
from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.loading.augment import to_float
from cnn_classifier.errors import CheckpointError, ConfigError, first_line
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.models.feature_bank import FeatureBank, forward_with_features
from cnn_classifier.training.checkpoints import read_checkpoint
from cnn_classifier.training.devices import resolve_device
from cnn_classifier.training.module import ImageClassifier


class PyTorchBackend:
    """A backend that runs a trained classifier in PyTorch.

    Args:
        classifier: The trained module.
        metadata: The preprocessing and temperature of the module.
        device: The device, for example `cpu`, `cuda` or `mps`. Defaults to the fastest available device.

    Raises:
        ConfigError: If the device is not available.
    """

    def __init__(
        self, classifier: ImageClassifier, metadata: ModelMetadata, *, device: str | torch.device | None = None
    ) -> None:
        try:
            self.device = torch.device(device) if device else resolve_device("auto")
            self.classifier = classifier.eval().to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch raises AssertionError if it was built without CUDA
            detail = first_line(error).rstrip(".")
            raise ConfigError(f"Cannot use device {device}: {detail}. Expected cpu, cuda or mps.") from error
        self.temperature = metadata.temperature
        self._lock = Lock()  # forward_with_features stores the features in the network

    @torch.inference_mode()
    def predict(self, pixels: Pixels) -> ModelOutput:
        """Return the output for preprocessed images, uint8 (B, H, W, C)."""
        images = self.to_images(pixels)
        logits, features = self.forward_with_features(images)
        probabilities = (logits.cpu().double() / self.temperature).softmax(dim=1).numpy()
        if self.classifier.feature_bank is None or features is None:
            return ModelOutput(probabilities, np.ones(len(pixels)))
        return ModelOutput(probabilities, self.classifier.feature_bank(features, images).cpu().double().numpy())

    def to_images(self, pixels: Pixels) -> Tensor:
        """Return preprocessed images, uint8 (B, H, W, C), as a float tensor (B, C, H, W) from 0 to 1 on the device."""
        images = torch.from_numpy(np.require(pixels, requirements="W")).to(self.device).permute(0, 3, 1, 2)
        return to_float(images)

    @torch.inference_mode()
    def forward_with_features(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute logits and the inputs of the last linear layer.

        Args:
            images: The output of `to_images`, shape (B, C, H, W).

        Returns:
            The logits, shape (B, K), and the features, shape (B, D), or None for networks without such a layer.
        """
        with self._lock:
            return forward_with_features(self.classifier, images)


def load_classifier(path: str | Path, *, trusted: Sequence[str] = ()) -> tuple[ImageClassifier, ModelMetadata]:
    """Load a trained classifier in evaluation mode on the CPU.

    Only the checkpoint file is needed, not the run directory.

    Args:
        path: The path of a checkpoint, or of a run directory, from which the best checkpoint is loaded.
        trusted: Import path prefixes of additional modules, such as `mypackage.nets.`, that the checkpoint may
            reference.

    Returns:
        The classifier and its metadata.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged or not written by cnn_classifier, or references a
            network outside cnn_classifier and `trusted`.
    """
    checkpoint = read_checkpoint(path)
    hparams = checkpoint["hyper_parameters"]
    try:
        check_trusted_hparams(hparams, trusted)
    except (CheckpointError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        classifier = ImageClassifier(**hparams | {"model": without_pretrained_weights(hparams["model"])})
        classifier.load_state_dict(checkpoint["state_dict"])
        classifier.feature_bank = read_feature_bank(checkpoint)
        metadata = ModelMetadata(
            class_names=classifier.class_names,
            preprocess=get_preprocess(classifier, path),
            aliases=classifier.aliases,
            **checkpoint.get("calibration", {}),
        )
    except (ConfigError, TypeError, KeyError, RuntimeError) as error:
        detail = first_line(error)
        raise CheckpointError(f"Cannot load {path}: its weights do not match its network ({detail}).") from error
    return classifier.eval(), metadata


def get_preprocess(classifier: ImageClassifier, path: str | Path) -> Preprocess:
    """Return the preprocessing of a classifier, by default resizing to its image size and scaling to [0, 1].

    Args:
        classifier: The trained module.
        path: The path of its checkpoint, for error messages.

    Raises:
        CheckpointError: If the image size is unknown.
    """
    if classifier.preprocess is not None:
        return classifier.preprocess
    image_size, channels = classifier.hparams["image_size"], classifier.hparams["channels"]
    if image_size is None:
        raise CheckpointError(
            f"Cannot load {path}: its image size is unknown. Pass image_size= or preprocess= to ImageClassifier, "
            "or fit it with a data module."
        )
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return Preprocess(image_size=image_size, channels=channels, resize="stretch", mean=zeros, std=ones)


def read_feature_bank(checkpoint: Mapping[str, Any]) -> FeatureBank | None:
    """Return the feature bank of a checkpoint, if it has one. Earlier checkpoints stored only features."""
    if "feature_bank" in checkpoint:
        return FeatureBank.from_tensors(checkpoint["feature_bank"])
    return FeatureBank(checkpoint["reference_features"]) if "reference_features" in checkpoint else None
