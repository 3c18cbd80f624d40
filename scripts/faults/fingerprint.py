"""A canonical byte representation of a checkpoint, for comparing two runs."""

from typing import Any

import torch

TIME_KEYS = ("seconds", "images_per_second")
IGNORED_KEYS = (*TIME_KEYS, "current_score")  # Lightning's ModelCheckpoint saves current_score but never loads it


def to_canonical_bytes(value: Any) -> bytes:
    """Convert tensors and numbers to bytes; times are ignored, and so are strings, because they contain paths."""
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(to_canonical_bytes(inner) for key, inner in value.items() if key not in IGNORED_KEYS)
    if isinstance(value, list | tuple):
        return b"".join(map(to_canonical_bytes, value))
    return b"" if isinstance(value, str) else repr(value).encode()
