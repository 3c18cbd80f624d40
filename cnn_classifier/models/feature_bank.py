"""Detection of out-of-distribution images by their nearest neighbors in feature space.

Softmax confidence does not detect out-of-distribution images: a classifier of cats and dogs is confident about a ship.
The cosine similarity to the k-th nearest validation image in feature space does detect them (arXiv:2204.06507).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_NEIGHBORS = 5  # k
# Fewer features do not determine a threshold; more would make checkpoints large.
MIN_FEATURES, MAX_FEATURES = 20, 1000


class FeatureBank(nn.Module):
    """The features of reference images, with which the features of other images are compared.

    Shape:
        features (N, D) -> cosine similarities to the k-th nearest reference image (N,)

    Args:
        features: The features of the reference images, shape (M, D).
    """

    features: Tensor

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.register_buffer("features", functional.normalize(features.float()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the cosine similarities (N,) of features (N, D) to the k-th nearest reference image."""
        cosines = functional.normalize(features.float()) @ self.features.T
        return cosines.topk(NUM_NEIGHBORS).values[:, -1]

    def leave_one_out(self) -> Tensor:
        """Return the similarity of each reference image to the others, shape (M,)."""
        cosines = self.features @ self.features.T
        return cosines.fill_diagonal_(-1).topk(NUM_NEIGHBORS).values[:, -1]


def forward_with_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the logits and the input of the last linear layer.

    Args:
        network: The network.
        images: Normalized images, shape (N, C, H, W).

    Returns:
        The logits, shape (N, num_classes), and the features, shape (N, D). The features are `None` if the last linear
        layer is not called exactly once with a 2-D tensor.
    """
    captured: list[Tensor] = []
    linear_layers: Sequence[nn.Module] = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0])) for layer in linear_layers[-1:]
    ]
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, captured[0] if len(captured) == 1 and captured[0].ndim == 2 else None


def build_feature_bank(features: Sequence[Tensor]) -> FeatureBank | None:
    """Return the bank of batches of features (N, D), or `None` for fewer than `MIN_FEATURES` images."""
    all_features = torch.cat(list(features)) if features else torch.empty(0)
    return FeatureBank(all_features) if len(all_features) >= MIN_FEATURES else None
