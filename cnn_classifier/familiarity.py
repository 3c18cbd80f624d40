"""How familiar an image is: how near, as the network sees it, to images that it was validated on.

Probabilities tell cats from dogs, and are as sure of a ship as of either. But what the last dense layer sees of a ship
is far from all that it sees of cats and dogs, which nearest neighbours tell (arXiv:2204.06507).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NEAREST = 5
# From so few images no threshold can be told; more of them than so would make checkpoints large.
FEWEST_KNOWN, MOST_KNOWN = 20, 1000


class Familiarity(nn.Module):
    """Features (B, D) -> their cosine (B,) with those of the fifth nearest of the images that are known.

    Args:
        known: Features of these images, (N, D).
    """

    known: Tensor

    def __init__(self, known: Tensor) -> None:
        super().__init__()
        self.register_buffer("known", functional.normalize(known.float()))

    def forward(self, features: Tensor) -> Tensor:
        cosines = functional.normalize(features.float()) @ self.known.T
        return cosines.topk(NEAREST).values[:, -1]

    def of_known(self) -> Tensor:
        """The familiarity of each known image, were it not known itself, (N,)."""
        cosines = self.known @ self.known.T
        return cosines.fill_diagonal_(-1).topk(NEAREST).values[:, -1]


def with_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """The logits (B, K), and what the last dense layer was given, (B, D); None where it is given something else."""
    seen: list[Tensor] = []
    dense: Sequence[nn.Module] = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for layer in dense[-1:]]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, seen[0] if len(seen) == 1 and seen[0].ndim == 2 else None


def familiarity_of(features: Sequence[Tensor]) -> Familiarity | None:
    """What batches of features (B, D) make familiar; None of too few images."""
    known = torch.cat(list(features)) if features else torch.empty(0)
    return Familiarity(known) if len(known) >= FEWEST_KNOWN else None
