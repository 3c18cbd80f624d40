"""Checkpoint files: atomic, with an embedded SHA-256 checksum, and read as plain data only."""

import hashlib
import io
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule
from torch import nn

from cnn_classifier import __version__
from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import BEST_CHECKPOINT, CHECKPOINT_DIR, CONFIG_FILE, atomic_write, ensure_writable_dir
from cnn_classifier.models.feature_bank import FeatureBank

CHECKPOINT_FORMAT = 2  # format 1 had no checksum
HEADER_KEY = "cnn_classifier"
FEATURE_BANK_KEYS = ("feature_bank", "reference_features")  # the latter in earlier checkpoints
# The zip end record: the signature, 16 bytes, then the length of the comment (APPNOTE.TXT 4.3.16).
ZIP_END_SIGNATURE = b"PK\x05\x06"
CHECKSUM_PREFIX = b"sha256:"
CHECKSUM_LENGTH = len(CHECKSUM_PREFIX) + 64
CHUNK_SIZE = 1 << 20
# The exceptions of `torch.load` on files that are not checkpoints.
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
URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib writes one slash; a drive has one letter


def checkpoint_header() -> dict[str, Any]:
    """Return the entry that marks a checkpoint as ours."""
    return {"format": CHECKPOINT_FORMAT, "version": __version__}


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint file of a path, which is the file itself or a run directory.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = Path(path)
    path = path / BEST_CHECKPOINT if path.is_dir() else path
    check_checkpoint_exists(path, "a run folder or a checkpoint such as outputs/.../checkpoints/best.ckpt")
    return path


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the plain data of a checkpoint onto the CPU.

    Args:
        path: A checkpoint that any `Trainer` wrote of an `ImageClassifier`, or a run directory.

    Raises:
        CheckpointError: If the file is missing, damaged, contains code, or is not such a checkpoint.
    """
    path = find_checkpoint(path)
    has_checksum = verify_checksum(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about files that are refused anyway
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except UNPICKLING_ERRORS as error:
        # torch's own message advises to load the file without the safety.
        match = re.search(r"(?i:unsupported global):? (?:GLOBAL )?(\S+)", str(error))
        reason = f"it contains a pickled global ({match[1]})" if match else "it is damaged or not a checkpoint"
        raise CheckpointError(
            f"Cannot load {path}: {reason}. Only checkpoints of an ImageClassifier are supported."
        ) from error
    header = checkpoint.get(HEADER_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(header, dict) or not {"hyper_parameters", "state_dict"} <= checkpoint.keys():
        raise CheckpointError(f"{path} was not written by cnn_classifier; train one with `python train.py`")
    if header.get("format") not in range(1, CHECKPOINT_FORMAT + 1):
        raise CheckpointError(f"{path} was written by cnn_classifier {header.get('version')}; upgrade to read it")
    if header.get("checksum") and not has_checksum:
        raise CheckpointError(f"{path} is damaged: its end is missing; use another checkpoint")
    return checkpoint


def check_checkpoint_exists(path: Path, expected: str) -> None:
    """Raise CheckpointError unless a checkpoint exists; URLs are never downloaded."""
    if URL.match(str(path)):
        raise CheckpointError(
            f"{path} is an address; expected {expected} on this machine: download it and give its path"
        )
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; expected {expected}")


def add_calibration(path: Path, calibration: Mapping[str, Any], feature_bank: FeatureBank | None = None) -> None:
    """Add the calibration on the validation split to a checkpoint.

    Args:
        path: The checkpoint file, which is replaced.
        calibration: `temperature`, `threshold` and `min_similarity`, see `ModelMetadata`.
        feature_bank: The features of training images, for out-of-distribution detection.
    """
    checkpoint = {key: value for key, value in read_checkpoint(path).items() if key not in FEATURE_BANK_KEYS}
    checkpoint["calibration"] = dict(calibration)
    if feature_bank is not None:
        checkpoint["feature_bank"] = feature_bank.to_tensors()
    ChecksummedCheckpointIO().save_checkpoint(checkpoint, path)


def estimate_checkpoint_bytes(module: nn.Module) -> int:
    """Estimate the disk space of a run's checkpoints: the best, the last, and one that is being written."""
    weight_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    return 3 * 4 * weight_bytes  # the weights, their average, and two moments of the optimizer


def find_run_dir(checkpoint: Path) -> Path | None:
    """Return the run directory of a checkpoint or of a link to one, or None if it is not in a run directory."""
    for path in (checkpoint, checkpoint.absolute(), checkpoint.resolve()):
        folder = path.parent.parent
        if path.parent.name == CHECKPOINT_DIR and (folder / CONFIG_FILE).is_file():
            return folder
    return None


def save_with_checksum(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data with tensors atomically, with its checksum in the comment of the zip archive.

    Raises:
        StorageError: If the file cannot be written; an existing file is kept.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = bytearray(buffer.getbuffer())
    if archive[-22:-18] != ZIP_END_SIGNATURE or archive[-2:] != b"\0\0":
        raise RuntimeError("torch no longer ends its archives without a comment")
    archive[-2:] = struct.pack("<H", CHECKSUM_LENGTH)
    archive += CHECKSUM_PREFIX
    atomic_write(path, archive, hashlib.sha256(archive).hexdigest().encode())


def verify_checksum(path: Path) -> bool:
    """Return whether a file has a checksum.

    Raises:
        CheckpointError: If it has one that does not match its content.
    """
    size = path.stat().st_size - 64
    digest = hashlib.sha256()
    with path.open("rb") as file:
        prefix = b""
        for start in range(0, size, CHUNK_SIZE):
            chunk = file.read(min(CHUNK_SIZE, size - start))
            digest.update(chunk)
            prefix = (prefix + chunk)[-len(CHECKSUM_PREFIX) :]
        stored_digest = file.read()
    if prefix != CHECKSUM_PREFIX:
        return False
    if stored_digest != digest.hexdigest().encode():
        raise CheckpointError(f"{path} is damaged: its bytes are not those that were written; give another checkpoint")
    return True


class ChecksummedCheckpointIO(CheckpointIO):
    """A Lightning plugin that writes checkpoints atomically and verifies their checksum."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        # The header says that a checksum follows, so that a file which lost its end is recognized.
        header = checkpoint.get(HEADER_KEY, checkpoint_header()) | {"checksum": True}
        save_with_checksum(Path(path), checkpoint | {HEADER_KEY: header})

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        verify_checksum(Path(path))
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def save_module(module: LightningModule, path: Path) -> None:
    """Save hyperparameters and weights, without the state of a training, as a checkpoint that all consumers load."""
    content = {"hyper_parameters": dict(module.hparams), "state_dict": module.state_dict()}
    lightning_keys = {"epoch": 0, "global_step": 0, "pytorch-lightning_version": lightning.__version__}
    checkpoint: dict[str, Any] = content | lightning_keys
    module.on_save_checkpoint(checkpoint)
    ensure_writable_dir(path.parent)
    ChecksummedCheckpointIO().save_checkpoint(checkpoint, path)
