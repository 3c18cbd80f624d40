"""Inference backends: PyTorch, exported PyTorch programs, ONNX Runtime and safetensors."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels

Probabilities = npt.NDArray[np.float64]
OutputRow = tuple[npt.NDArray[np.float64], float]  # probabilities (K,) and similarity of one image


class ModelOutput(NamedTuple):
    """The output of a model for a batch of images.

    Args:
        probabilities: The class probabilities, shape (B, K).
        similarity: The similarity of each image to the training images, from -1 to 1, shape (B,), see `FeatureBank`. It
            is 1 for models without a feature bank.
    """

    probabilities: Probabilities
    similarity: npt.NDArray[np.float64]

    @classmethod
    def concatenate(cls, batches: Sequence["ModelOutput"]) -> "ModelOutput":
        """Concatenate the outputs of several batches."""
        return cls(*map(np.concatenate, zip(*batches, strict=True)))

    def to_rows(self) -> list[OutputRow]:
        """Return the output of each image."""
        return list(zip(self.probabilities, self.similarity.tolist(), strict=True))


class Backend(Protocol):
    """A trained network that includes normalization and temperature."""

    def predict(self, pixels: Pixels) -> ModelOutput:
        """Return the output for preprocessed images, uint8 (B, H, W, C)."""
        ...
