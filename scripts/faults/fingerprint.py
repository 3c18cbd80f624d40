"""All that a checkpoint holds, as bytes: equal for two trainings that went the same way."""

from typing import Any

import torch

OF_TIME = ("seconds", "images_per_second")
ASIDE = (*OF_TIME, "current_score")  # which Lightning's ModelCheckpoint writes down but never reads again


def canonical(value: Any) -> bytes:
    """Numbers and tensors, apart from times; words are left out, since they are paths."""
    if isinstance(value, torch.Tensor):
        return value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return b"".join(canonical(inner) for key, inner in value.items() if key not in ASIDE)
    if isinstance(value, list | tuple):
        return b"".join(map(canonical, value))
    return b"" if isinstance(value, str) else repr(value).encode()
