"""Where a network looked: the parts of an image that spoke for a class, by Grad-CAM (arXiv:1610.02391)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from cnn_classifier.data.augment import normalise, to_float
from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.module import ImageClassifier

HeatMaps = Sequence[npt.NDArray[np.float32]]
NO_CONVOLUTION = "The network has no convolution whose map could show where it looked."
# Of a map: coarser ones tell little of where, and finer ones, from earlier layers, little of what: on cats and dogs of
# 72 px the last map of 4 x 4 lies on heads, those of 2 x 2 and of 9 x 9 lie anywhere.
LEAST_SIDE = 4
AT_ONCE = 16  # images, which bounds the memory


def heat_maps(classifier: ImageClassifier, pixels: Pixels, classes: Sequence[int]) -> tuple[HeatMaps, str]:
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
    images = normalise(to_float(images), classifier.preprocess).requires_grad_()
    layer = feature_layer(classifier, images[:1])
    if layer is None:
        return [], NO_CONVOLUTION
    grad_cam = LayerGradCam(classifier, layer)
    targets = torch.tensor(classes, device=classifier.device)
    maps = [
        grad_cam.attribute(some, target).detach()
        for some, target in zip(images.split(AT_ONCE), targets.split(AT_ONCE), strict=True)
    ]
    evidence = torch.cat(maps).squeeze(1).float()  # (B, h, w)
    # More than the rest of the image: a norm after the convolution makes the level itself mean nothing.
    heat = (evidence - evidence.mean(dim=(1, 2), keepdim=True)).clamp(min=0)
    highest = heat.amax(dim=(1, 2), keepdim=True)
    return list((heat / highest.clamp(min=torch.finfo(heat.dtype).tiny)).cpu().numpy()), ""


@torch.no_grad()
def feature_layer(classifier: ImageClassifier, image: Tensor) -> nn.Module | None:
    """The last convolution whose map is not too coarse; None where one only cuts the image into patches.

    Args:
        classifier: The trained module.
        image: Normalised, (1, C, H, W).
    """
    sides: dict[nn.Conv2d, int] = {}

    def note(layer: nn.Conv2d, _: Any, output: Tensor) -> None:
        sides[layer] = min(output.shape[-2:])

    convolutions = [layer for layer in classifier.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in convolutions]
    classifier(image)
    for hook in hooks:
        hook.remove()
    looking = {layer: side for layer, side in sides.items() if not cuts_patches(layer)}
    fine = min(LEAST_SIDE, max(looking.values(), default=0))
    return next((layer for layer, side in reversed(looking.items()) if side >= fine), None)


def cuts_patches(layer: nn.Conv2d) -> bool:
    """Whether a convolution looks at pieces side by side, as at the entrance of a transformer."""
    return layer.stride == layer.kernel_size and max(layer.stride) > 1
