"""Read checkpoints safely."""

import hashlib
import io
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from cnn_classifier.errors import CheckpointError
from cnn_classifier.files import BEST_CHECKPOINT, atomic_write
from cnn_classifier.models.feature_bank import FeatureBank
from cnn_classifier.training.module import CHECKPOINT_FORMAT, ImageClassifier

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


ZIP_END_SIGNATURE = b"PK\x05\x06"  # it and 16 bytes, then the length of the comment (APPNOTE.TXT 4.3.16)
CHECKSUM_PREFIX = b"sha256:"
CHECKSUM_LENGTH = len(CHECKSUM_PREFIX) + 64
CHUNK_SIZE = 1 << 20


def save_with_checksum(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data with tensors.

    Raises:
        StorageError: If it cannot be written; what was there before is there yet.
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
    """Whether a file is sealed; raise CheckpointError if it is and its bytes are not those that were written."""
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
    """`cnn_classifier.training.checkpoints` as Lightning's plugin; the arguments it does not name are Lightning's own."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        save_with_checksum(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> Any:
        verify_checksum(Path(path))
        return torch.load(path, map_location=map_location, weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
