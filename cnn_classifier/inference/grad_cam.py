"""Where a network looked: the parts of an image that spoke for a class, by Grad-CAM (arXiv:1610.02391)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.augment import normalize, to_float
from cnn_classifier.training.module import ImageClassifier

Heatmaps = Sequence[npt.NDArray[np.float32]]
NO_CONVOLUTION_MESSAGE = "The network has no convolution whose map could show where it looked."
# Of a map: coarser ones tell little of where, and finer ones, from earlier layers, little of what: on cats and dogs of
# 72 px the last map of 4 x 4 lies on heads, those of 2 x 2 and of 9 x 9 lie anywhere.
MIN_MAP_SIZE = 4
BATCH_SIZE = 16  # images, which bounds the memory


def grad_cam(classifier: ImageClassifier, pixels: Pixels, classes: Sequence[int]) -> tuple[Heatmaps, str]:
    """What spoke for a class in each image.

    Args:
        classifier: The trained module.
        pixels: Final pixels, uint8 (B, H, W, C).
        classes: One of each image, B of them.

    Returns:
        A map of each image, float32 (h, w) over the whole of it: 1 where most spoke for the class, 0 where no more did
        than on average. And why there are none, or nothing.
    """
    images = torch.from_numpy(pixels).to(classifier.device).permute(0, 3, 1, 2)
    images = normalize(to_float(images), classifier.preprocess).requires_grad_()
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
    # More than the rest of the image: a norm after the convolution makes the level itself mean nothing.
    heatmaps = (scores - scores.mean(dim=(1, 2), keepdim=True)).clamp(min=0)
    peak = heatmaps.amax(dim=(1, 2), keepdim=True)
    return list((heatmaps / peak.clamp(min=torch.finfo(heatmaps.dtype).tiny)).cpu().numpy()), ""


@torch.no_grad()
def find_target_layer(classifier: ImageClassifier, image: Tensor) -> nn.Module | None:
    """The last convolution whose map is not too coarse; None where one only cuts the image into patches.

    Args:
        classifier: The trained module.
        image: Normalised, (1, C, H, W).
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
    """Whether a convolution looks at pieces side by side, as at the entrance of a transformer."""
    return layer.stride == layer.kernel_size and max(layer.stride) > 1
