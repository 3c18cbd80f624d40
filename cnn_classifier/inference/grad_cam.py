"""Grad-CAM heatmaps (arXiv:1610.02391)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.augment import to_float
from cnn_classifier.training.module import ImageClassifier

Heatmaps = Sequence[npt.NDArray[np.float32]]
NO_CONVOLUTION_MESSAGE = "Grad-CAM requires a convolutional layer: this network has none with a suitable feature map."
# Minimum side of the feature map. Coarser maps localize poorly, and finer maps come from earlier layers with less
# semantic content: on cats_dogs at 72 px, the last 4 x 4 map highlights heads, 2 x 2 and 9 x 9 maps do not.
MIN_MAP_SIZE = 4
BATCH_SIZE = 4  # bounds the memory, which the members of an ensemble multiply


def grad_cam(classifier: ImageClassifier, pixels: Pixels, classes: Sequence[int]) -> tuple[Heatmaps, str]:
    """Compute a Grad-CAM heatmap for each image.

    Args:
        classifier: The trained module.
        pixels: Preprocessed images, uint8 (B, H, W, C).
        classes: The class index to explain for each image, length B.

    Returns:
        The heatmaps, float32 (h, w), which cover the whole image: 1 at the highest score, 0 at the mean score and
        below. The second item is a message that says why there are none, or an empty string.
    """
    images = torch.from_numpy(pixels).to(classifier.device).permute(0, 3, 1, 2)
    images = to_float(images).requires_grad_()
    target_layer = find_target_layer(classifier, images[:1])
    if target_layer is None:
        return [], NO_CONVOLUTION_MESSAGE
    attribution = LayerGradCam(classifier, target_layer)
    targets = torch.tensor(classes, device=classifier.device)
    maps = [
        attribution.attribute(batch, target).detach()
        for batch, target in zip(images.split(BATCH_SIZE), targets.split(BATCH_SIZE), strict=True)
    ]
    scores = torch.cat(maps).squeeze(1).float()  # (B, h, w)
    # Relative to the mean of the image: with a norm after the convolution, the absolute level has no meaning.
    heatmaps = (scores - scores.mean(dim=(1, 2), keepdim=True)).clamp(min=0)
    peak = heatmaps.amax(dim=(1, 2), keepdim=True)
    return list((heatmaps / peak.clamp(min=torch.finfo(heatmaps.dtype).tiny)).cpu().numpy()), ""


@torch.no_grad()
def find_target_layer(classifier: ImageClassifier, image: Tensor) -> nn.Module | None:
    """Return the last convolution whose feature map is at least `MIN_MAP_SIZE` wide and high.

    Args:
        classifier: The trained module.
        image: An image in [0, 1], shape (1, C, H, W).

    Returns:
        The layer, or None if there is no convolution other than a patch embedding.
    """
    map_sizes: dict[nn.Conv2d, int] = {}

    def record_map_size(layer: nn.Conv2d, _: Any, output: Tensor) -> None:
        map_sizes[layer] = min(output.shape[-2:])

    convolutions = [layer for layer in classifier.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(record_map_size) for layer in convolutions]
    classifier(image)
    for hook in hooks:
        hook.remove()
    candidates = {layer: side for layer, side in map_sizes.items() if not is_patch_embedding(layer)}
    min_size = min(MIN_MAP_SIZE, max(candidates.values(), default=0))
    return next((layer for layer, side in reversed(candidates.items()) if side >= min_size), None)


def is_patch_embedding(layer: nn.Conv2d) -> bool:
    """Return whether a convolution splits the image into non-overlapping patches, as in vision transformers."""
    return layer.stride == layer.kernel_size and max(layer.stride) > 1
