"""Random changes that treat a whole batch: torchvision v2 transforms that draw once an image.

torchvision's own draw once a call, so that all images of a batch would get one angle.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2


class PerSampleTransform(v2.Transform):
    """A transform that draws its parameters for each image of a batch: images (B, C, H, W) in [0, 1] -> the same."""

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        raise NotImplementedError


class RandomHorizontalFlip(PerSampleTransform):
    """Mirror each image left to right, with probability `p`."""

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__()
        check_probability(p)
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"flipped": sample_uniform(flat_inputs[0], 0, 1) < self.p}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.where(params["flipped"].view(-1, 1, 1, 1), inpt.flip(-1), inpt)


class RandomAffineCrop(PerSampleTransform):
    """Rotate, zoom, crop and shift each image; what comes into view from outside is the image mirrored.

    Args:
        degrees: Largest angle, to either side.
        zoom: Smallest and largest magnification about the centre.
        crop: Smallest and largest share of the image's area that is kept, from anywhere in it.
        translate: Largest shift, as a share of the image's side, in each direction. An image that is only shifted is
            so by whole pixels, and stays sharp: on tiny images between pixels it would be seen blurred throughout.
    """

    # Side of what comes out, in pixels; that of the image if None. To crop and to shrink in one go keeps more detail
    # than to shrink first, and costs no more than the smaller image.
    size: int | None = None

    def __init__(
        self,
        *,
        degrees: float = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        crop_area: Sequence[float] = (1.0, 1.0),
        translate: float = 0.0,
    ) -> None:
        super().__init__()
        check_argument(degrees >= 0, f"`degrees`={degrees} is out of range; expected at least 0")
        check_argument(translate >= 0, f"`translate`={translate} is out of range; expected at least 0")
        check_argument(
            len(scale) == 2 and 0 < scale[0] <= scale[1],
            f"`zoom`={list(scale)} is out of range; expected [smallest, largest] above 0",
        )
        check_argument(
            len(crop_area) == 2 and 0 < crop_area[0] <= crop_area[1] <= 1,
            f"`crop`={list(crop_area)} is out of range; expected [smallest, largest] share from 0 to 1",
        )
        self.degrees, self.scale, self.crop_area, self.translate = degrees, tuple(scale), tuple(crop_area), translate
        self.is_translation_only = degrees == 0 and self.scale == self.crop_area == (1.0, 1.0)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        angle = sample_uniform(images, -self.degrees, self.degrees) * (math.pi / 180)
        crop_side = sample_uniform(images, *self.crop_area).sqrt()  # of the side
        scale = crop_side / sample_uniform(images, *self.scale)
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        # grid_sample's coordinates span -1 to 1, so that a share of the side counts twice.
        right, down = (
            2 * sample_uniform(images, -self.translate, self.translate)
            + sample_uniform(images, -1, 1) * (1 - crop_side)
            for _ in range(2)
        )
        if self.is_translation_only:
            right, down = (
                (shift * n / 2).round() * 2 / n for shift, n in ((right, images.shape[-1]), (down, images.shape[-2]))
            )
        return {"across": (cosine, -sine, right), "down": (sine, cosine, down)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        height, width = inpt.shape[-2:] if self.size is None else (self.size, self.size)
        x, y = 2 * pixel_centers(width, inpt) - 1, (2 * pixel_centers(height, inpt) - 1).view(-1, 1)
        # As functional.affine_grid, in a third of its time: what is the same in a row or a column is computed once.
        grid = torch.stack(
            [
                by_x.view(-1, 1, 1) * x + (by_y.view(-1, 1, 1) * y + shift.view(-1, 1, 1))
                for by_x, by_y, shift in (params["across"], params["down"])
            ],
            dim=-1,
        )
        return functional.grid_sample(inpt, grid, padding_mode="reflection", align_corners=False)


class RandomColorJitter(PerSampleTransform):
    """Change brightness, contrast and saturation of each image by up to these shares."""

    def __init__(self, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        super().__init__()
        bounds = min(brightness, contrast, saturation), max(brightness, contrast, saturation)
        check_argument(
            bounds[0] >= 0 and bounds[1] <= 1,
            f"`brightness`={brightness}, `contrast`={contrast}, `saturation`={saturation}: expected shares from 0 to 1",
        )
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        strengths = {"brightness": self.brightness, "contrast": self.contrast, "saturation": self.saturation}
        return {
            name: 1 + sample_uniform(images, -max_change, max_change).view(-1, 1, 1, 1)
            for name, max_change in strengths.items()
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        gray = inpt.mean(1, keepdim=True)  # which a change of saturation leaves alone
        center = gray.mean((2, 3), keepdim=True)
        colored = torch.lerp(gray, inpt, params["saturation"])
        scale = params["contrast"] * params["brightness"]
        return torch.addcmul(center * (params["brightness"] - scale), colored, scale).clamp_(0, 1)


class RandomCutout(PerSampleTransform):
    """Cover a rectangle of each image with its mean colour, with probability `p` (arXiv:1708.04896).

    Args:
        p: Probability.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest height of the rectangle divided by its width.
    """

    def __init__(
        self, *, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3)
    ) -> None:
        super().__init__()
        check_probability(p)
        check_argument(
            len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1,
            f"`scale`={list(scale)} is out of range; expected [smallest, largest] share from 0 to 1",
        )
        check_argument(
            len(ratio) == 2 and 0 < ratio[0] <= ratio[1],
            f"`ratio`={list(ratio)} is out of range; expected [smallest, largest] above 0",
        )
        self.p, self.scale, self.ratio = p, tuple(scale), tuple(ratio)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        area = sample_uniform(images, *self.scale).view(-1, 1)
        shape = sample_uniform(images, *map(math.log, self.ratio)).exp().view(-1, 1)
        sides = [(area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)]
        starts = [sample_uniform(images, 0, 1).view(-1, 1) * (1 - side) for side in sides]
        rows, columns = (
            (start <= centers) & (centers < start + side)
            for start, side, centers in zip(
                starts, sides, (pixel_centers(n, images) for n in images.shape[-2:]), strict=True
            )
        )
        selected = sample_uniform(images, 0, 1) < self.p
        return {
            "covered": (rows & selected.view(-1, 1)).view(len(images), 1, -1, 1) & columns.view(len(images), 1, 1, -1)
        }

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.where(params["covered"], inpt.mean((2, 3), keepdim=True), inpt)


def pixel_centers(length: int, like: Tensor) -> Tensor:
    """Where the centres of `length` pixels lie, as shares of the side (length,)."""
    return (torch.arange(length, device=like.device) + 0.5) / length


def sample_uniform(images: Tensor, low: float, high: float) -> Tensor:
    """One number an image, (B,)."""
    return torch.empty(len(images), device=images.device).uniform_(low, high)


def check_argument(condition: bool, message: str) -> None:
    """Raise ValueError unless a constructor's value is in its range."""
    if not condition:
        raise ValueError(message)


def check_probability(p: float) -> None:
    check_argument(0 <= p <= 1, f"`p`={p} is out of range; expected a probability from 0 to 1")
