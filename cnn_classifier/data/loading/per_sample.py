"""The base class of batched random transforms, and helpers to draw and to check their parameters."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2


class PerSampleTransform(v2.Transform):
    """The base class of transforms that draw their parameters for each image of a batch.

    Shape:
        - Input: float images of shape (B, C, H, W) in [0, 1].
        - Output: float images of the same shape in [0, 1].
    """

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the parameters of a batch, each with B as the first dimension."""
        raise NotImplementedError


def pixel_centers(length: int, like: Tensor) -> Tensor:
    """Return the positions of pixel centers as fractions of the side length, shape (length,)."""
    return (torch.arange(length, device=like.device) + 0.5) / length


def sample_uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Draw one uniform number from [low, high) for each image, shape (B,)."""
    return torch.empty(len(images), device=images.device).uniform_(low, high)


def check_argument(condition: bool, message: str) -> None:
    """Raise ValueError with a message if a condition on a constructor argument does not hold."""
    if not condition:
        raise ValueError(message)


def check_range(name: str, values: Sequence[float], *, upper: float = math.inf) -> None:
    """Raise ValueError unless `values` is a pair [minimum, maximum] in (0, upper]."""
    check_argument(
        len(values) == 2 and 0 < values[0] <= values[1] <= upper,
        f"`{name}`={list(values)} is out of range: expected [minimum, maximum] "
        + ("above 0." if upper == math.inf else f"in (0, {upper:g}]."),
    )


def check_probability(p: float) -> None:
    """Raise ValueError if `p` is not a probability."""
    check_argument(0 <= p <= 1, f"`p`={p} is out of range: expected a probability in [0, 1].")
