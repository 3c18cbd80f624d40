"""Checkpoint files that are whole or not there, and that tell if a byte of them has changed.

torch writes a zip archive; its comment, which readers pass over, holds the SHA-256 of all bytes before it. So a
checkpoint and its digest are one file and cannot part, whenever the machine stops.
"""

import hashlib
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cnn_classifier.errors import CheckpointError
from cnn_classifier.storage import write_whole

END_OF_ARCHIVE = b"PK\x05\x06"  # it and 16 bytes, then the length of the comment (APPNOTE.TXT 4.3.16)
LABEL = b"sha256:"
SEAL_LENGTH = len(LABEL) + 64
CHUNK = 1 << 20


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write plain data with tensors.

    Raises:
        StorageError: If it cannot be written; what was there before is there yet.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = bytearray(buffer.getbuffer())
    if archive[-22:-18] != END_OF_ARCHIVE or archive[-2:] != b"\0\0":
        raise RuntimeError("torch no longer ends its archives without a comment")
    archive[-2:] = struct.pack("<H", SEAL_LENGTH)
    archive += LABEL
    write_whole(path, archive, hashlib.sha256(archive).hexdigest().encode())


def require_unchanged(path: Path) -> bool:
    """Whether a file is sealed; raise CheckpointError if it is and its bytes are not those that were written."""
    size = path.stat().st_size - 64
    digest = hashlib.sha256()
    with path.open("rb") as file:
        label = b""
        for start in range(0, size, CHUNK):
            chunk = file.read(min(CHUNK, size - start))
            digest.update(chunk)
            label = (label + chunk)[-len(LABEL) :]
        told = file.read()
    if label != LABEL:
        return False
    if told != digest.hexdigest().encode():
        raise CheckpointError(f"{path} is damaged: its bytes are not those that were written; give another checkpoint")
    return True
