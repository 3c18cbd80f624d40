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

from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.engines import Answers
from cnn_classifier.errors import CheckpointError

# torch reads it whenever it unpickles, and then takes numbers alone, whatever the caller asks for.
NUMBERS_ALONE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
COMPILED = "/aotinductor/"


class ProgramEngine:
    """The program of a bundle on the CPU.

    Args:
        path: `model.pt2`.

    Raises:
        CheckpointError: If it cannot be loaded, or holds more than numbers and operators.
    """

    def __init__(self, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                if any(COMPILED in name for name in archive.namelist()):
                    raise CheckpointError(f"{path} holds compiled code, which is not run; export the bundle again")
            with numbers_alone():
                program = torch.export.load(path)
        except CheckpointError:
            raise
        except Exception as error:  # torch's verifier and readers raise what they like
            told = str(error).splitlines()[0]
            raise CheckpointError(f"{path} is no program that can be run ({told}); export the bundle again") from error
        require_operators(program, path)
        self.module = program.module()

    @torch.inference_mode()
    def look(self, pixels: Pixels) -> Answers:
        found = self.module(torch.from_numpy(np.require(pixels, requirements="W")))
        probabilities, familiarity = found if isinstance(found, tuple) else (found, torch.ones(len(pixels)))
        return Answers(probabilities.double().numpy(), familiarity.double().numpy())


def require_operators(program: ExportedProgram, path: Path) -> None:
    """Raise CheckpointError if a program calls anything but ATen and Python's own operators."""
    for node in program.graph.nodes:
        target = node.target
        ours = isinstance(target, torch._ops.OpOverload) and target.namespace == "aten"
        if node.op == "call_function" and not ours and getattr(target, "__module__", "") != "_operator":
            raise CheckpointError(f"{path} calls {target}, which is no operator of ATen; export the bundle again")


@contextmanager
def numbers_alone() -> Iterator[None]:
    """Without unpickling anything else, and without torch's log of what a damaged file did to it."""
    before, logger = os.environ.get(NUMBERS_ALONE), logging.getLogger("torch.export")
    level = logger.level
    os.environ[NUMBERS_ALONE] = "1"
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        if before is None:
            del os.environ[NUMBERS_ALONE]
        else:
            os.environ[NUMBERS_ALONE] = before
