"""Exported PyTorch programs (`.pt2`), restricted to tensors and ATen operators.

`torch.export.load` executes code from the file: pickles, compiled libraries and arbitrary functions. Files that contain
any of these are refused.
"""

import logging
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.errors import CheckpointError, first_line
from cnn_classifier.inference.backends import ModelOutput

# With this environment variable, torch.load uses weights_only=True regardless of its argument.
WEIGHTS_ONLY_VARIABLE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
COMPILED_CODE_DIR = "/aotinductor/"


class ExportedProgramBackend:
    """A backend that runs an exported PyTorch program on the CPU.

    Args:
        path: The path of `model.pt2`.

    Raises:
        CheckpointError: If the program cannot be loaded, or contains anything but tensors and ATen operators.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                if any(COMPILED_CODE_DIR in name for name in archive.namelist()):
                    raise CheckpointError(f"Cannot load {path}: it contains compiled code. Export the bundle again.")
            with force_weights_only():
                program = torch.export.load(path)
        except CheckpointError:
            raise
        except Exception as error:  # the readers of torch.export have no common exception type
            detail = first_line(error).rstrip(".")
            raise CheckpointError(f"Cannot load {path}: {detail}. Export the bundle again.") from error
        check_operators(program, path)
        self.module = program.module()

    @torch.inference_mode()
    def predict(self, pixels: Pixels) -> ModelOutput:
        """Return the output for preprocessed images, uint8 (B, H, W, C)."""
        output = self.module(torch.from_numpy(np.require(pixels, requirements="W")))
        probabilities, similarity = output if isinstance(output, tuple) else (output, torch.ones(len(pixels)))
        return ModelOutput(probabilities.double().numpy(), similarity.double().numpy())


def check_operators(program: ExportedProgram, path: Path) -> None:
    """Raise `CheckpointError` if a program calls anything but ATen operators and Python's `operator` functions."""
    for node in program.graph.nodes:
        target = node.target
        is_aten = isinstance(target, torch._ops.OpOverload) and target.namespace == "aten"
        if node.op == "call_function" and not is_aten and getattr(target, "__module__", "") != "_operator":
            raise CheckpointError(
                f"Cannot load {path}: it calls {target}, which is not an ATen operator. Export the bundle again."
            )


@contextmanager
def force_weights_only() -> Iterator[None]:
    """Restrict unpickling to tensors, and suppress the errors that torch logs for damaged files."""
    previous, logger = os.environ.get(WEIGHTS_ONLY_VARIABLE), logging.getLogger("torch.export")
    level = logger.level
    os.environ[WEIGHTS_ONLY_VARIABLE] = "1"
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if previous is None:
            del os.environ[WEIGHTS_ONLY_VARIABLE]
        else:
            os.environ[WEIGHTS_ONLY_VARIABLE] = previous
