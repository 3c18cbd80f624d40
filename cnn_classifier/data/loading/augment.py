"""Augmentation and normalization of batches on the device, and the named augmentation presets."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.per_sample import PerSampleTransform
from cnn_classifier.data.loading.transforms import (
    RandomAffineCrop,
    RandomColorJitter,
    RandomCutout,
    RandomHorizontalFlip,
)
from cnn_classifier.errors import ConfigError

MixTransform = v2.MixUp | v2.CutMix
# The presets of `conf/augment` for use from Python; a test compares the two.
PRESETS: dict[str, Callable[[], list[nn.Module]]] = {
    "none": list,
    "no_flip": lambda: [RandomAffineCrop(degrees=10.0, scale=(0.9, 1.1), translate=0.06)],
    "light": lambda: [
        RandomHorizontalFlip(p=0.5),
        RandomAffineCrop(degrees=12.0, scale=(0.9, 1.2), translate=0.05),
        RandomColorJitter(brightness=0.1, contrast=0.1, saturation=0.1),
    ],
    "strong": lambda: [
        RandomHorizontalFlip(p=0.5),
        RandomAffineCrop(degrees=20.0, scale=(0.8, 1.6), translate=0.15),
        RandomColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        RandomCutout(p=0.25),
    ],
}


def get_preset(name: str) -> list[nn.Module]:
    """Return the transforms of an augmentation preset.

    Raises:
        ConfigError: If there is no preset of this name; `auto` needs the data and is resolved by `train` only.
    """
    if name not in PRESETS:
        raise ConfigError(
            f"augment={name} is not a preset; expected one of {', '.join(PRESETS)}, or a list of transforms"
        )
    return PRESETS[name]()


class Augmentation(nn.Module):
    """Random augmentation of a batch: transforms of single images, then MixUp and CutMix.

    Args:
        transforms: The transforms in order. A `PerSampleTransform` receives the batch, torchvision's MixUp and CutMix
            receive images and labels, and any other v2 transform receives one image at a time.
        num_classes: The number of classes K, the length of mixed labels.
    """

    def __init__(self, transforms: Sequence[nn.Module], *, num_classes: int) -> None:
        super().__init__()
        self.single = nn.ModuleList(t for t in transforms if not isinstance(t, MixTransform))
        mixing = [transform for transform in transforms if isinstance(transform, MixTransform)]
        for transform in mixing:
            transform.num_classes = num_classes
        self.mixing = nn.ModuleList(mixing)

    def forward(self, images: Tensor, labels: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: Images, float in [0, 1], shape (B, C, H, W).
            labels: Class indices, int64, shape (B,).
            size: The side of the returned images in pixels; unchanged if None.

        Returns:
            Images of shape (B, C, size, size), and labels of shape (B,), or float (B, K) if they were mixed.
        """
        size = size or images.shape[-1]
        for transform in self.single:
            if isinstance(transform, RandomAffineCrop):
                transform.size = size
            if isinstance(transform, PerSampleTransform):
                images = transform(images)
            else:
                images = torch.stack([transform(image) for image in images])
        if images.shape[-1] != size:
            images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        for transform in self.mixing:
            images, labels = transform(images, labels)
        return images, labels


def to_float(images: Tensor) -> Tensor:
    """Convert uint8 images to contiguous float32 in [0, 1], which augments twice as fast; pass on float images."""
    if images.is_floating_point():
        return images
    return images.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)


def normalize(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Normalize float images (B, C, H, W) in [0, 1] with the mean and standard deviation of the preprocessing."""
    shift, scale = normalize_constants(preprocess.mean, preprocess.std, images.device)
    return torch.addcmul(shift, images, scale)


@lru_cache
def normalize_constants(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return `shift` and `scale` with (x - mean) / std = x * scale + shift, cached on the device."""
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    scale = [1 / s for s in std]
    with torch.inference_mode(False):  # Grad-CAM reuses them, and autograd refuses inference tensors
        tensors = [torch.tensor(values, device=device).view(-1, 1, 1) for values in (shift, scale)]
    return tensors[0], tensors[1]
