"""What happens to a batch on the training device: bytes become numbers, are changed at random, and are normalised."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.transforms import PerSampleTransform, RandomAffineCrop

MixTransform = v2.MixUp | v2.CutMix


class Augmentation(nn.Module):
    """Random changes to a batch: first each image for itself, then images with each other.

    Args:
        transforms: In order. A `BatchTransform` treats the batch as a whole, torchvision's MixUp and CutMix pairs of
            images and their labels, and any other v2 transform one image at a time.
        num_classes: Length of the labels that mixing makes of whole numbers.
    """

    def __init__(self, transforms: Sequence[nn.Module], *, num_classes: int) -> None:
        super().__init__()
        self.single = nn.ModuleList(t for t in transforms if not isinstance(t, MixTransform))
        mixing = [transform for transform in transforms if isinstance(transform, MixTransform)]
        for transform in mixing:
            transform.num_classes = num_classes
        self.mixing = nn.ModuleList(mixing)

    def forward(self, images: Tensor, labels: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Change a batch.

        Args:
            images: Float (B, C, H, W) in [0, 1].
            labels: Int64 (B,).
            size: Side in pixels of the images to return; theirs if None.

        Returns:
            Images (B, C, size, size), and labels: (B,), or float (B, K) once they are mixed.
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
    """Uint8 images -> float32 in [0, 1], channels first: what changes images is twice as fast so."""
    return images.to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)


def normalize(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Float images (B, C, H, W) in [0, 1] -> the network's input."""
    shift, scale = normalize_constants(preprocess.mean, preprocess.std, images.device)
    return torch.addcmul(shift, images, scale)


@lru_cache
def normalize_constants(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """What turns x into (x - mean) / std; kept on the device, since sending it there in every step would wait."""
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    scale = [1 / s for s in std]
    return tuple(torch.tensor(values, device=device).view(-1, 1, 1) for values in (shift, scale))  # type: ignore[return-value]
