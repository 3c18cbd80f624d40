"""An exported PyTorch program (`.pt2`): ATen operators, with normalisation, softmax and temperature among them."""

from pathlib import Path

import torch

from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.engines import Probabilities
from cnn_classifier.errors import CheckpointError


class ProgramEngine:
    """The program of a bundle on the CPU.

    Args:
        path: `model.pt2`.

    Raises:
        CheckpointError: If it cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.module = torch.export.load(path).module()
        except (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
            told = str(error).splitlines()[0]
            raise CheckpointError(f"{path} is no program that can be run ({told}); export the bundle again") from error

    @torch.inference_mode()
    def probabilities(self, pixels: Pixels) -> Probabilities:
        return self.module(torch.from_numpy(pixels)).double().numpy()
