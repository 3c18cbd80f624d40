"""All that a checkpoint holds, as bytes: equal for two trainings that went the same way."""

from typing import Any

import torch

TIME_KEYS = ("seconds", "images_per_second")
IGNORED_KEYS = (*TIME_KEYS, "current_score")  # which Lightning's ModelCheckpoint writes down but never reads again


def to_canonical_bytes(value: Any) -> bytes:
    """Numbers and tensors, apart from times; words are left out, since they are paths."""
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(to_canonical_bytes(inner) for key, inner in value.items() if key not in IGNORED_KEYS)
    if isinstance(value, list | tuple):
        return b"".join(map(to_canonical_bytes, value))
    return b"" if isinstance(value, str) else repr(value).encode()
