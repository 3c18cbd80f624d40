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
from cnn_classifier.storage import atomic_write

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
