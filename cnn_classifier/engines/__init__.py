"""What computes the answers: pixels in, probabilities out; PyTorch or ONNX Runtime."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.preprocess import Pixels

Probabilities = npt.NDArray[np.float64]


class Engine(Protocol):
    """A trained network with its normalisation and temperature."""

    def probabilities(self, pixels: Pixels) -> Probabilities:
        """Final pixels uint8 (B, H, W, C) -> probabilities (B, K)."""
        ...
