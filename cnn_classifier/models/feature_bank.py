"""How familiar an image is: how near, as the network sees it, to images that it was validated on.

Probabilities tell cats from dogs, and are as sure of a ship as of either. But what the last dense layer sees of a ship
is far from all that it sees of cats and dogs, which nearest neighbours tell (arXiv:2204.06507).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

K = 5
# From so few images no threshold can be told; more of them than so would make checkpoints large.
MIN_FEATURES, MAX_FEATURES = 20, 1000


class FeatureBank(nn.Module):
    """Features (B, D) -> their cosine (B,) with those of the fifth nearest of the images that are known.

    Args:
        known: Features of these images, (N, D).
    """

    features: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("features", functional.normalize(features.float()))

    def forward(self, features: Tensor) -> Tensor:
        cosines = functional.normalize(features.float()) @ self.features.T
        return cosines.topk(K).values[:, -1]

    def leave_one_out(self) -> Tensor:
        """The familiarity of each known image, were it not known itself, (N,)."""
        cosines = self.features @ self.features.T
        return cosines.fill_diagonal_(-1).topk(K).values[:, -1]


def forward_with_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """The logits (B, K), and what the last dense layer was given, (B, D); None where it is given something else."""
    captured: list[Tensor] = []
    linear_layers: Sequence[nn.Module] = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, given: captured.append(given[0])) for layer in linear_layers[-1:]
    ]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, captured[0] if len(captured) == 1 and captured[0].ndim == 2 else None


def build_feature_bank(features: Sequence[Tensor]) -> FeatureBank | None:
    """What batches of features (B, D) make familiar; None of too few images."""
    all_features = torch.cat(list(features)) if features else torch.empty(0)
    return FeatureBank(all_features) if len(all_features) >= MIN_FEATURES else None
