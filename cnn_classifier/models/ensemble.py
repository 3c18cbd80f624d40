"""An ensemble of networks as one network, such as those of the folds of a cross-validation."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Ensemble(nn.Module):
    """The mean of the class probabilities of several networks (arXiv:1612.01474), returned as logits.

    All consumers of a network apply a softmax to its output, which turns the logarithm of the mean into the mean.

    Shape:
        (N, C, H, W) normalized images -> (N, num_classes) logits

    Args:
        members: The networks, which share the preprocessing of the images and the classes.
    """

    def __init__(
        self,
        *,
        members: Sequence[nn.Module],
        num_classes: int = 0,  # these arguments belong to the members
        channels: int = 3,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the logarithm of the mean probabilities, shape (N, num_classes)."""
        log_probabilities = torch.stack([functional.log_softmax(member(images), dim=1) for member in self.members])
        return log_probabilities.logsumexp(dim=0) - math.log(len(self.members))
