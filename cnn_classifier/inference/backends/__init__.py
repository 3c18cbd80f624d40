"""What computes the answers: pixels in, probabilities out; PyTorch or ONNX Runtime."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels

Probabilities = npt.NDArray[np.float64]
OutputRow = tuple[npt.NDArray[np.float64], float]  # of one image: probabilities (K,), familiarity


class ModelOutput(NamedTuple):
    """What a network says of images.

    Args:
        probabilities: Of each class, (B, K).
        familiarity: How near each image is to those that the network was validated on, (B,), 1 at most and where the
            model does not tell.
    """

    probabilities: Probabilities
    similarity: npt.NDArray[np.float64]

    @classmethod
    def concatenate(cls, batches: Sequence["ModelOutput"]) -> "ModelOutput":
        """The answers of several batches as one."""
        return cls(*map(np.concatenate, zip(*batches, strict=True)))

    def to_rows(self) -> list[OutputRow]:
        """The same image by image."""
        return list(zip(self.probabilities, self.similarity.tolist(), strict=True))


class Backend(Protocol):
    """A trained network with its normalisation and temperature."""

    def predict(self, pixels: Pixels) -> ModelOutput:
        """Final pixels uint8 (B, H, W, C) -> answers."""
        ...
