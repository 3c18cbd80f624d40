"""Read checkpoints safely."""

import pickle
import re
import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.build import check_trusted_target
from cnn_classifier.card import ModelMetadata
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.familiarity import FeatureBank
from cnn_classifier.module import CHECKPOINT_FORMAT, ImageClassifier
from cnn_classifier.sealed import save_with_checksum, verify_checksum

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
BEST_CHECKPOINT = Path("checkpoints", "best.ckpt")
LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib writes one slash; a drive has one letter


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The plain data of one of our checkpoints, on the CPU.

    Raises:
        CheckpointError: If it is missing, damaged, holds more than plain data, or is not ours.
    """
    path = Path(path)
    path = path / BEST_CHECKPOINT if path.is_dir() else path
    check_checkpoint_exists(path, "a run folder or a checkpoint such as outputs/.../checkpoints/best.ckpt")
    has_checksum = verify_checksum(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is no checkpoint of ours, and refused
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        # torch's own message advises to load the file without the safety.
        match = re.search(r"(?i:unsupported global):? (?:GLOBAL )?(\S+)", str(error))
        reason = f"it names {match[1]}, which is code" if match else "it is damaged or something else"
        raise CheckpointError(f"{path} is no checkpoint of plain data: {reason}; give one that we wrote") from error
    header = checkpoint.get("cnn_classifier") if isinstance(checkpoint, dict) else None
    if not isinstance(header, dict) or not {"hyper_parameters", "state_dict"} <= checkpoint.keys():
        raise CheckpointError(f"{path} was not written by cnn_classifier; train one with `python train.py`")
    if header.get("format") not in range(1, CHECKPOINT_FORMAT + 1):
        raise CheckpointError(f"{path} was written by cnn_classifier {header.get('version')}; upgrade to read it")
    if header["format"] > 1 and not has_checksum:
        raise CheckpointError(f"{path} is damaged: its end is missing; give another checkpoint")
    return checkpoint


def check_checkpoint_exists(path: Path, expected: str) -> None:
    """Raise CheckpointError unless a checkpoint is there; nothing is ever fetched on its behalf."""
    if URL.match(str(path)):
        raise CheckpointError(
            f"{path} is an address; expected {expected} on this machine: download it and give its path"
        )
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected {expected}")


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


def add_calibration(path: Path, calibration: Mapping[str, Any], feature_bank: FeatureBank | None = None) -> None:
    """Add to a checkpoint what validation images told.

    Args:
        path: The checkpoint.
        calibration: Of its answers: `temperature`, `threshold` and `least_familiarity`, as `Card` has them.
        familiarity: Which images are familiar to it.
    """
    reference_features = {} if feature_bank is None else {"reference_features": feature_bank.features.cpu()}
    save_with_checksum(path, read_checkpoint(path) | reference_features | {"calibration": dict(calibration)})


def estimate_checkpoint_bytes(module: ImageClassifier) -> int:
    """About what a run's checkpoints take: the best, the last, and one that is being written."""
    weight_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    return 3 * 4 * weight_bytes  # the weights, their average, and two moments of the optimiser


def find_run_dir(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, if it lies in one."""
    folder = checkpoint.parent.parent
    return folder if checkpoint.parent.name == "checkpoints" and (folder / "config.yaml").is_file() else None
