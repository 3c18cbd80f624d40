"""Detection of out-of-distribution images by their nearest neighbors among the training images.

An image is compared in two ways, and the lower similarity counts. The features of the network (arXiv:2204.06507) reveal
photos of other objects. They fail for networks that were not pretrained, and for images unlike any photo, such as
noise and scanned characters, which the statistics of the pixels reveal. `scripts/ood.py` compares scores.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnn_classifier.models.backbones import find_heads, find_last_layer
from cnn_classifier.models.ensemble import Ensemble

NUM_NEIGHBORS = 5  # k
# Fewer images do not determine a similarity; more would make checkpoints large.
MIN_REFERENCES, MAX_REFERENCES = 20, 500
MIN_STATISTICS_SIZE = 8  # pixels, at the coarsest scale
EPS = 1e-3  # of pixel values from 0 to 1, a quarter of one of 255 levels
MIN_STD = 0.05  # of logarithms; limits the weight of statistics that are constant in the training images


class FeatureBank(nn.Module):
    """The features and statistics of reference images, with which those of other images are compared.

    Shape:
        features (N, D), images (N, C, H, W) with values from 0 to 1 -> similarities from -1 to 1 (N,)

    Args:
        features: The features of the reference images, shape (M, D). They are rounded to float16.
        statistics: Their `image_statistics`, shape (M, S). None compares features only, as earlier checkpoints do.
        scale: The weight of each statistic, shape (S,), see `set_scale`. Equal weights if not given.
    """

    features: Tensor
    statistics: Tensor | None
    scale: Tensor | None

    def __init__(self, features: Tensor, statistics: Tensor | None = None, scale: Tensor | None = None) -> None:
        super().__init__()
        if statistics is not None and scale is None:
            scale = 1 / statistics.std(dim=0).clamp(min=MIN_STD)
        self.register_buffer("features", functional.normalize(features.float()).half().float())
        self.register_buffer("statistics", statistics)
        self.register_buffer("scale", scale)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "FeatureBank":
        """Create the bank from its `to_tensors`, or from its `state_dict`."""
        return cls(**tensors)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the tensors to save: the `state_dict` on the CPU, with features in float16."""
        tensors = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        return tensors | {"features": tensors["features"].half()}

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Return the similarities (N,) of features (N, D) and images (N, C, H, W) to the reference images."""
        return self.similarities(features, image_statistics(images))

    def similarities(self, features: Tensor, statistics: Tensor) -> Tensor:
        """Return the similarities (N,) of features (N, D) and statistics (N, S) to the reference images."""
        similarities = self.feature_similarities(features)
        if self.statistics is None:
            return similarities
        return torch.minimum(similarities, 1 - self.distances(statistics).clamp(max=2))

    def feature_similarities(self, features: Tensor) -> Tensor:
        """Return the cosine similarity of features (N, D) to the k-th nearest reference image, shape (N,)."""
        cosines = functional.normalize(features.float()) @ self.features.T
        return cosines.topk(NUM_NEIGHBORS).values[:, -1]

    def distances(self, statistics: Tensor) -> Tensor:
        """Return the distance of image statistics (N, S) to the k-th nearest reference image, shape (N,)."""
        return self._pairwise_distances(statistics).topk(NUM_NEIGHBORS, largest=False).values[:, -1]

    def leave_one_out_distances(self) -> Tensor:
        """Return the distance of the statistics of each reference image to the others, shape (M,)."""
        assert self.statistics is not None
        pairwise = self._pairwise_distances(self.statistics).fill_diagonal_(math.inf)
        return pairwise.topk(NUM_NEIGHBORS, largest=False).values[:, -1]

    def set_scale(self, limit: float, min_similarity: float) -> None:
        """Rescale the distances of statistics such that `limit` becomes the distance 1 - `min_similarity`."""
        assert self.scale is not None
        self.scale = self.scale * ((1 - min_similarity) / max(limit, EPS))

    def _pairwise_distances(self, statistics: Tensor) -> Tensor:
        assert self.statistics is not None
        assert self.scale is not None
        differences = (statistics[:, None] - self.statistics) * self.scale
        return differences.square().sum(dim=2).sqrt()


def image_statistics(images: Tensor) -> Tensor:
    """Return the logarithms of the differences of neighboring pixels relative to the contrast, at several scales.

    Brightness and contrast of the image cancel, so that a darker photo has the same statistics.

    Args:
        images: Images with values from 0 to 1, shape (N, C, H, W).

    Returns:
        For each scale, the mean absolute difference and its standard deviation, horizontally and vertically; shape
        (N, 4 * scales). Each scale has half the size of the one before it, down to `MIN_STATISTICS_SIZE`.
    """
    gray = images.mean(dim=1, keepdim=True)
    contrast = (gray.flatten(1).std(dim=1, correction=0)).clamp(min=10 * EPS)
    num_scales = max(1, int(math.log2(min(images.shape[2:]) / MIN_STATISTICS_SIZE)) + 1)
    statistics = []
    for scale in range(num_scales):
        if scale > 0:
            gray = functional.avg_pool2d(gray, 2)
        for differences in (gray[..., 1:] - gray[..., :-1], gray[..., 1:, :] - gray[..., :-1, :]):
            flat = differences.flatten(1)
            statistics += [flat.abs().mean(dim=1), flat.std(dim=1, correction=0)]
    return (torch.stack(statistics, dim=1).clamp(min=EPS) / contrast[:, None]).log()


def forward_with_features(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the logits and the input of the layer that computes them.

    Args:
        network: The network.
        images: Normalized images, shape (N, C, H, W).

    Returns:
        The logits, shape (N, num_classes), and the features, shape (N, D). The features are `None` if the layer is not
        called exactly once with one vector per image.
    """
    captured: list[Tensor] = []
    layer = find_output_layer(network)
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))] if layer else []
    try:
        logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    features = [tensor.flatten(1) if tensor.shape[2:] == (1, 1) else tensor for tensor in captured]
    return logits, features[0] if len(features) == 1 and features[0].ndim == 2 else None


def find_output_layer(network: nn.Module) -> nn.Module | None:
    """Return the layer that computes the logits: that which timm declares, the first of several, or the last one.

    Of an ensemble, it is that of the first member.
    """
    network = next((module.members[0] for module in network.modules() if isinstance(module, Ensemble)), network)
    for module in network.modules():
        if hasattr(module, "pretrained_cfg"):
            names = find_heads(module)
            return module.get_submodule(names[0]) if names else None
    name = find_last_layer(network, "")
    layer = network.get_submodule(name) if name else None
    return layer if isinstance(layer, nn.Linear) else None
