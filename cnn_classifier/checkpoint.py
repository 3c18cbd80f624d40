"""Read checkpoints safely."""

import pickle
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.build import require_trusted
from cnn_classifier.card import Card
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.familiarity import Familiarity
from cnn_classifier.module import CHECKPOINT_FORMAT, ImageClassifier
from cnn_classifier.sealed import require_unchanged, write_sealed

# What torch raises on files that are no checkpoints.
UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    struct.error,
)
BEST = Path("checkpoints", "best.ckpt")
LAST = Path("checkpoints", "last.ckpt")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib writes one slash; a drive has one letter


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The plain data of one of our checkpoints, on the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, holds more than plain data, or is not ours.
    """
    path = Path(path)
    path = path / BEST if path.is_dir() else path
    require_file(path, "a run folder or a checkpoint such as outputs/.../checkpoints/best.ckpt")
    sealed = require_unchanged(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no checkpoint of ours, and refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        # torch's own message advises to load the file without the safety.
        found = re.search(r"(?i:unsupported global):? (?:GLOBAL )?(\S+)", str(error))
        reason = f"it names {found[1]}, which is code" if found else "it is damaged or something else"
        raise CheckpointError(f"{path} is no checkpoint of plain data: {reason}; give one that we wrote") from error
    ours = content.get("cnn_classifier") if isinstance(content, dict) else None
    if not isinstance(ours, dict) or not {"hyper_parameters", "state_dict"} <= content.keys():
        raise CheckpointError(f"{path} was not written by cnn_classifier; train one with `python train.py`")
    if ours.get("format") not in range(1, CHECKPOINT_FORMAT + 1):
        raise CheckpointError(f"{path} was written by cnn_classifier {ours.get('version')}; upgrade to read it")
    if ours["format"] > 1 and not sealed:
        raise CheckpointError(f"{path} is damaged: its end is missing; give another checkpoint")
    return content


def require_file(path: Path, expected: str) -> None:
    """Raise CheckpointError unless a checkpoint is there; nothing is ever fetched on its behalf."""
    if ADDRESS.match(str(path)):
        raise CheckpointError(
            f"{path} is an address; expected {expected} on this machine: download it and give its path"
        )
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected {expected}")


def read_trained(path: str | Path, *, trusted: Sequence[str] = ()) -> tuple[ImageClassifier, Card]:
    """The trained classifier, ready to predict on the CPU, and what its answers mean; the file alone is enough.

    Args:
        path: A checkpoint, or the folder of a run, whose best one it is then.
        trusted: Import paths, such as `mypackage.nets.`, of networks of your own that it may name.

    Raises:
        CheckpointError: If it is missing, damaged or not ours, or names a network outside ours and `trusted`.
    """
    content = read_checkpoint(path)
    settings = content["hyper_parameters"]
    try:
        require_trusted(settings["model"], trusted)
    except (CheckpointError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    try:
        classifier = ImageClassifier(**settings)
        classifier.load_state_dict(content["state_dict"])
        classifier.familiarity = Familiarity(content["known"]) if "known" in content else None
        card = Card(
            class_names=classifier.class_names,
            preprocess=classifier.preprocess,
            aliases=classifier.aliases,
            **content.get("calibration", {}),
        )
    except (ConfigError, TypeError, KeyError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: its weights and its network do not fit together ({told})") from error
    return classifier.eval(), card


def write_calibration(path: Path, calibration: Mapping[str, Any], familiarity: Familiarity | None = None) -> None:
    """Add to a checkpoint what validation images told.

    Args:
        path: The checkpoint.
        calibration: Of its answers: `temperature`, `threshold` and `least_familiarity`, as `Card` has them.
        familiarity: Which images are familiar to it.
    """
    known = {} if familiarity is None else {"known": familiarity.known.cpu()}
    write_sealed(path, read_checkpoint(path) | known | {"calibration": dict(calibration)})


def checkpoint_bytes(module: ImageClassifier) -> int:
    """About what a run's checkpoints take: the best, the last, and one that is being written."""
    weights = sum(tensor.nbytes for tensor in module.state_dict().values())
    return 3 * 4 * weights  # the weights, their average, and two moments of the optimiser


def run_dir_of(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.parent.parent
    return folder if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file() else None
