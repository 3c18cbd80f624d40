"""Batched random transforms with independent parameters for each image.

torchvision's transforms draw their parameters once per call, so that all images of a batch would be rotated by the same
angle.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cnn_classifier.data.loading.per_sample import (
    PerSampleTransform,
    check_argument,
    check_probability,
    check_range,
    pixel_centers,
    sample_uniform,
)


class RandomHorizontalFlip(PerSampleTransform):
    """Flip each image horizontally with probability `p`.

    Shape:
        - Input: float images of shape (B, C, H, W) in [0, 1].
        - Output: float images of shape (B, C, H, W) in [0, 1].

    Args:
        p: The probability of a flip, in [0, 1].
    """

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__()
        check_probability(p)
        self.p = p

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        return {"flipped": sample_uniform(flat_inputs[0], 0, 1) < self.p}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.where(params["flipped"].view(-1, 1, 1, 1), inpt.flip(-1), inpt)


class RandomAffineCrop(PerSampleTransform):
    """Crop, rotate, scale, translate and resize each image in a single interpolation.

    Regions outside the image are filled by reflection. Pure translations use integer offsets, which avoids
    interpolation blur on small images.

    Shape:
        - Input: float images of shape (B, C, H, W) in [0, 1].
        - Output: float images of shape (B, C, `size`, `size`) in [0, 1]; (B, C, H, W) if `size` is None.

    Args:
        degrees: The maximum rotation angle in degrees. Angles are drawn from [-degrees, degrees].
        scale: The minimum and maximum scale factor about the center, above 0. Factors above 1 magnify.
        crop_area: The minimum and maximum area of the random crop, as a fraction of the image area, in (0, 1].
        translate: The maximum absolute translation in each direction, as a fraction of the side length.
    """

    # The side length of the output in pixels; None keeps that of the input. Cropping and downsampling in one step keeps
    # more detail than downsampling first, at the cost of the smaller image.
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
        check_argument(degrees >= 0, f"`degrees`={degrees} is out of range: expected at least 0.")
        check_argument(translate >= 0, f"`translate`={translate} is out of range: expected at least 0.")
        check_range("scale", scale)
        check_range("crop_area", crop_area, upper=1)
        self.degrees, self.scale, self.crop_area, self.translate = degrees, tuple(scale), tuple(crop_area), translate
        self.is_translation_only = degrees == 0 and self.scale == self.crop_area == (1.0, 1.0)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        angle = sample_uniform(images, -self.degrees, self.degrees) * (math.pi / 180)
        crop_side = sample_uniform(images, *self.crop_area).sqrt()  # as a fraction of the side length
        scale = crop_side / sample_uniform(images, *self.scale)
        cosine, sine = angle.cos() * scale, angle.sin() * scale
        # The coordinates of grid_sample range from -1 to 1: a side has length 2.
        shift_x, shift_y = (
            2 * sample_uniform(images, -self.translate, self.translate)
            + sample_uniform(images, -1, 1) * (1 - crop_side)
            for _ in range(2)
        )
        if self.is_translation_only:
            height, width = images.shape[-2:]
            shift_x, shift_y = ((shift * n / 2).round() * 2 / n for shift, n in ((shift_x, width), (shift_y, height)))
        return {"x": (cosine, -sine, shift_x), "y": (sine, cosine, shift_y)}  # rows of the 2 x 3 affine matrix

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        height, width = inpt.shape[-2:] if self.size is None else (self.size, self.size)
        x, y = 2 * pixel_centers(width, inpt) - 1, (2 * pixel_centers(height, inpt) - 1).view(-1, 1)
        # Equivalent to functional.affine_grid in a third of its time: products are computed once per row and column.
        grid = torch.stack(
            [
                by_x.view(-1, 1, 1) * x + (by_y.view(-1, 1, 1) * y + shift.view(-1, 1, 1))
                for by_x, by_y, shift in (params["x"], params["y"])
            ],
            dim=-1,
        )
        return functional.grid_sample(inpt, grid, padding_mode="reflection", align_corners=False)


class RandomColorJitter(PerSampleTransform):
    """Change the brightness, contrast and saturation of each image by independent random factors.

    Each factor is drawn from [1 - value, 1 + value]. Results are clamped to [0, 1].

    Shape:
        - Input: float images of shape (B, C, H, W) in [0, 1].
        - Output: float images of shape (B, C, H, W) in [0, 1].

    Args:
        brightness: The maximum relative change of brightness, in [0, 1].
        contrast: The maximum relative change of contrast about the image mean, in [0, 1].
        saturation: The maximum relative change of saturation, in [0, 1].
    """

    def __init__(self, *, brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0) -> None:
        super().__init__()
        bounds = min(brightness, contrast, saturation), max(brightness, contrast, saturation)
        check_argument(
            bounds[0] >= 0 and bounds[1] <= 1,
            f"`brightness`={brightness}, `contrast`={contrast} or `saturation`={saturation} is out of range: "
            "expected values in [0, 1].",
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
        gray = inpt.mean(1, keepdim=True)  # invariant under changes of saturation
        center = gray.mean((2, 3), keepdim=True)
        colored = torch.lerp(gray, inpt, params["saturation"])
        scale = params["contrast"] * params["brightness"]
        return torch.addcmul(center * (params["brightness"] - scale), colored, scale).clamp_(0, 1)


class RandomCutout(PerSampleTransform):
    """Replace a random rectangle of each image by the mean color of the image, with probability `p`.

    A variant of random erasing (arXiv:1708.04896).

    Shape:
        - Input: float images of shape (B, C, H, W) in [0, 1].
        - Output: float images of shape (B, C, H, W) in [0, 1].

    Args:
        p: The probability of replacing a rectangle, in [0, 1].
        scale: The minimum and maximum area of the rectangle, as a fraction of the image area, in (0, 1].
        ratio: The minimum and maximum aspect ratio of the rectangle, height / width, above 0.
    """

    def __init__(
        self, *, p: float = 0.5, scale: Sequence[float] = (0.02, 0.33), ratio: Sequence[float] = (0.3, 3.3)
    ) -> None:
        super().__init__()
        check_probability(p)
        check_range("scale", scale, upper=1)
        check_range("ratio", ratio)
        self.p, self.scale, self.ratio = p, tuple(scale), tuple(ratio)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        images = flat_inputs[0]
        area = sample_uniform(images, *self.scale).view(-1, 1)
        ratio = sample_uniform(images, *map(math.log, self.ratio)).exp().view(-1, 1)
        sides = [(area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)]
        starts = [sample_uniform(images, 0, 1).view(-1, 1) * (1 - side) for side in sides]
        rows, columns = (
            (start <= centers) & (centers < start + side)
            for start, side, centers in zip(
                starts, sides, (pixel_centers(n, images) for n in images.shape[-2:]), strict=True
            )
        )
        selected = sample_uniform(images, 0, 1) < self.p
        rows = rows & selected.view(-1, 1)
        return {"mask": rows.view(len(images), 1, -1, 1) & columns.view(len(images), 1, 1, -1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return torch.where(params["mask"], inpt.mean((2, 3), keepdim=True), inpt)
