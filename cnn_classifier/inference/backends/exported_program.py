"""An exported PyTorch program (`.pt2`): ATen operators, with normalisation, softmax and temperature among them.

`torch.export.load` itself would run what a file tells it to: pickles, compiled libraries, other functions. Here such
files are refused.
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
from cnn_classifier.errors import CheckpointError
from cnn_classifier.inference.backends import ModelOutput

# torch reads it whenever it unpickles, and then takes numbers alone, whatever the caller asks for.
WEIGHTS_ONLY_VARIABLE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
COMPILED_CODE_DIR = "/aotinductor/"


class ExportedProgramBackend:
    """The program of a bundle on the CPU.

    Args:
        path: `model.pt2`.

    Raises:
        CheckpointError: If it cannot be loaded, or holds more than numbers and operators.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                if any(COMPILED_CODE_DIR in name for name in archive.namelist()):
                    raise CheckpointError(f"{path} holds compiled code, which is not run; export the bundle again")
            with force_weights_only():
                program = torch.export.load(path)
        except CheckpointError:
            raise
        except Exception as error:  # torch's verifier and readers raise what they like
            detail = str(error).splitlines()[0]
            raise CheckpointError(
                f"{path} is no program that can be run ({detail}); export the bundle again"
            ) from error
        check_operators(program, path)
        self.module = program.module()

    @torch.inference_mode()
    def predict(self, pixels: Pixels) -> ModelOutput:
        output = self.module(torch.from_numpy(np.require(pixels, requirements="W")))
        probabilities, similarity = output if isinstance(output, tuple) else (output, torch.ones(len(pixels)))
        return ModelOutput(probabilities.double().numpy(), similarity.double().numpy())


def check_operators(program: ExportedProgram, path: Path) -> None:
    """Raise CheckpointError if a program calls anything but ATen and Python's own operators."""
    for node in program.graph.nodes:
        target = node.target
        is_aten = isinstance(target, torch._ops.OpOverload) and target.namespace == "aten"
        if node.op == "call_function" and not is_aten and getattr(target, "__module__", "") != "_operator":
            raise CheckpointError(f"{path} calls {target}, which is no operator of ATen; export the bundle again")


@contextmanager
def force_weights_only() -> Iterator[None]:
    """Without unpickling anything else, and without torch's log of what a damaged file did to it."""
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
