"""Random changes to training images, on the training device: torchvision v2 transforms that treat a whole batch.

torchvision's own transforms draw once a call, so a batch would get one angle for all its images. The ones here draw
once an image and work on the batch as a whole; any other transform named in the YAML is applied image by image.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.errors import ConfigError


class BatchTransform(v2.Transform):
    """A transform that draws its parameters for each image of a batch: images (B, C, H, W) in [0, 1] -> the same."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        raise NotImplementedError


def require(holds: bool, message: str) -> None:
    """Raise ValueError unless a constructor's value is in its range."""
    if not holds:
        raise ValueError(message)


def uniform(images: Tensor, low: float, high: float) -> Tensor:
    """One number an image, (B,)."""
    return torch.empty(len(images), device=images.device).uniform_(low, high)


class RandomFlip(BatchTransform):
    """Mirror each image left to right, with probability `p`."""

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__()
        require(0 <= p <= 1, f"`p`={p} is out of range; expected a probability from 0 to 1")
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"flipped": uniform(flat_inputs[0], 0, 1) < self.p}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.where(params["flipped"].view(-1, 1, 1, 1), inpt.flip(-1), inpt)


class RandomAffine(BatchTransform):
    """Rotate, zoom and shift each image; what comes into view from outside is the image mirrored.

    Args:
        degrees: Largest angle, to either side.
        zoom: Smallest and largest magnification; above 1 the image is cropped.
        translate: Largest shift, as a share of the image's side, in each direction.
    """

    def __init__(self, *, degrees: float = 0.0, zoom: Sequence[float] = (1.0, 1.0), translate: float = 0.0) -> None:
        super().__init__()
        require(degrees >= 0, f"`degrees`={degrees} is out of range; expected at least 0")
        require(translate >= 0, f"`translate`={translate} is out of range; expected at least 0")
        require(
            len(zoom) == 2 and 0 < zoom[0] <= zoom[1],
            f"`zoom`={list(zoom)} is out of range; expected [smallest, largest] above 0",
        )
        self.degrees, self.zoom, self.translate = degrees, tuple(zoom), translate

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        angle = uniform(images, -self.degrees, self.degrees) * (math.pi / 180)
        scale = 1 / uniform(images, *self.zoom)
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        # grid_sample's coordinates span -1 to 1, so a share of the side counts twice.
        right, down = (2 * uniform(images, -self.translate, self.translate) for _ in range(2))
        return {"matrix": torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).view(-1, 2, 3)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        grid = functional.affine_grid(params["matrix"].to(inpt.dtype), list(inpt.shape), align_corners=False)
        return functional.grid_sample(inpt, grid, padding_mode="reflection", align_corners=False)


class RandomColour(BatchTransform):
    """Change brightness, contrast and saturation of each image by up to these shares."""

    def __init__(self, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        super().__init__()
        strongest = min(brightness, contrast, saturation), max(brightness, contrast, saturation)
        require(
            strongest[0] >= 0 and strongest[1] <= 1,
            f"`brightness`={brightness}, `contrast`={contrast}, `saturation`={saturation}: expected shares from 0 to 1",
        )
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        strengths = {"brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation}
        return {name: 1 + uniform(images, -most, most).view(-1, 1, 1, 1) for name, most in strengths.items()}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        grey = inpt.mean(1, keepdim=True)
        coloured = grey + (inpt - grey) * params["saturation"]
        centre = grey.mean((2, 3), keepdim=True)
        return ((centre + (coloured - centre) * params["contrast"]) * params["brightness"]).clamp(0, 1)


class PerImage(nn.Module):
    """Apply a transform to each image of a batch on its own, so that each gets its own draw."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.transform(image) for image in images])


def augmentation(transforms: Sequence[nn.Module]) -> nn.Sequential:
    """The transforms one after the other: float images (B, C, H, W) in [0, 1] -> the same, each image on its own."""
    for transform in transforms:
        if isinstance(transform, v2.MixUp | v2.CutMix):
            raise ConfigError(f"augment: {type(transform).__name__} mixes labels too, which is not possible here yet")
    return nn.Sequential(*(t if isinstance(t, BatchTransform) else PerImage(t) for t in transforms))


def to_float(images: Tensor) -> Tensor:
    """Uint8 images -> float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def normalise(images: Tensor, preprocess: Preprocess) -> Tensor:
    """Float images (B, C, H, W) in [0, 1] -> the network's input."""
    mean = torch.tensor(preprocess.mean, device=images.device).view(-1, 1, 1)
    std = torch.tensor(preprocess.std, device=images.device).view(-1, 1, 1)
    return (images - mean) / std
