"""Tests of the random transforms, MixUp and CutMix, and normalization."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import Augmentation, normalize, to_float
from cnn_classifier.data.loading.transforms import (
    RandomAffineCrop,
    RandomColorJitter,
    RandomCutout,
    RandomHorizontalFlip,
)

RANDOM_TRANSFORMS: list[Callable[[], nn.Module]] = [
    RandomHorizontalFlip,
    lambda: RandomAffineCrop(degrees=20),
    lambda: RandomAffineCrop(scale=(0.7, 1.5)),
    lambda: RandomAffineCrop(translate=0.2),
    lambda: RandomAffineCrop(crop_area=(0.3, 0.6)),
    lambda: RandomCutout(p=0.5),
    lambda: RandomColorJitter(brightness=0.3),
    lambda: RandomColorJitter(contrast=0.3),
    lambda: RandomColorJitter(saturation=0.3),
    lambda: v2.RandomErasing(p=1.0),  # torchvision draws once per call, so it is applied image by image
]


def repeated_image(count: int = 8) -> Tensor:
    """Return a batch of identical images (B, 3, 16, 16): differences in the output are due to random parameters."""
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return (0.2 + 0.6 * image).repeat(count, 1, 1, 1)


def augment(transforms: list[nn.Module], images: Tensor, size: int | None = None) -> Tensor:
    labels = torch.arange(len(images))
    augmented, output_labels = Augmentation(transforms, num_classes=len(images))(images, labels, size)
    assert torch.equal(output_labels, labels)
    return augmented


@pytest.mark.parametrize("make_transform", RANDOM_TRANSFORMS)
def test_images_of_a_batch_get_different_reproducible_transforms(make_transform: Callable[[], nn.Module]) -> None:
    transforms = [make_transform()]
    torch.manual_seed(1)
    augmented = augment(transforms, repeated_image())
    torch.manual_seed(1)
    assert torch.equal(augment(transforms, repeated_image()), augmented)
    assert augmented.shape == (8, 3, 16, 16)
    assert len(torch.unique(augmented, dim=0)) > 1
    assert not torch.equal(augment(transforms, repeated_image()), augmented)


@pytest.mark.parametrize(
    "transforms", [[], [RandomHorizontalFlip(p=0.0), RandomAffineCrop(), RandomColorJitter(), RandomCutout(p=0.0)]]
)
def test_identity_parameters_leave_images_unchanged(transforms: list[nn.Module]) -> None:
    torch.testing.assert_close(augment(transforms, repeated_image()), repeated_image(), rtol=0, atol=1e-5)


def test_flip_with_probability_one_flips_horizontally() -> None:
    assert torch.equal(RandomHorizontalFlip(p=1.0)(repeated_image()), repeated_image().flip(-1))


def test_scale_of_two_magnifies_the_center() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[..., 6:10, 6:10] = 1
    scaled = RandomAffineCrop(scale=(2.0, 2.0))(images)
    assert scaled[0, 0, 5:11, 5:11].min() == 1
    assert scaled[0, 0, :3].max() == 0


def test_translation_is_bounded_and_fills_by_reflection() -> None:
    columns = torch.linspace(0, 1, 20).expand(64, 1, 20, 20)
    torch.manual_seed(0)
    translated = RandomAffineCrop(translate=0.25)(columns)
    assert (translated - columns).abs().max() < 0.25 * 20 / 19 + 1e-4
    assert (translated - columns).abs().max() > 0.2


def test_pure_translation_uses_integer_offsets() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 3, 16, 16)
    translated = RandomAffineCrop(translate=0.125)(images)
    assert all(torch.isin(translated[i].mul(1e4).round(), images[i].mul(1e4).round()).all() for i in range(64))
    assert (translated != images).flatten(1).any(1).sum() > 40


def test_color_jitter_output_is_clamped() -> None:
    torch.manual_seed(0)
    jittered = RandomColorJitter(brightness=0.9, contrast=0.9, saturation=0.9)(torch.rand(64, 3, 8, 8))
    assert jittered.min() == 0
    assert jittered.max() == 1


def test_crop_has_the_given_area_at_random_positions() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    torch.manual_seed(0)
    cropped = RandomAffineCrop(crop_area=(0.25, 0.25))(torch.stack([rows, columns]).repeat(200, 1, 1, 1))
    low, high = cropped.amin((2, 3)), cropped.amax((2, 3))
    torch.testing.assert_close(high - low, torch.full((200, 2), 0.5), rtol=0, atol=0.02)
    assert low.min() < 0.02
    assert high.max() > 0.98
    assert 0.2 < low.mean() < 0.3


def test_cutout_fills_a_rectangle_of_the_given_area_with_the_mean_color() -> None:
    torch.manual_seed(0)
    images = torch.rand(300, 3, 40, 40)
    output = RandomCutout(p=0.5, scale=(0.1, 0.2), ratio=(0.5, 2.0))(images)
    mask = (output != images).any(1)
    areas = mask.float().mean((1, 2))
    assert 0.4 < (areas > 0).float().mean() < 0.6
    assert 0.07 < areas[areas > 0].min() < areas.max() < 0.23
    largest = int(areas.argmax())
    torch.testing.assert_close(output[largest][:, mask[largest]].unique(dim=1)[:, 0], images[largest].mean((1, 2)))


@pytest.mark.parametrize("transforms", [[], [RandomHorizontalFlip()], [RandomAffineCrop(degrees=9)]])
def test_output_has_the_requested_size(transforms: list[nn.Module]) -> None:
    assert augment(transforms, repeated_image(), size=12).shape == (8, 3, 12, 12)
    assert augment(transforms, repeated_image()).shape == (8, 3, 16, 16)


def test_downsampling_by_two_averages_four_pixels() -> None:
    expected = nn.functional.avg_pool2d(repeated_image(), 2)
    torch.testing.assert_close(augment([RandomAffineCrop()], repeated_image(), size=8), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mix", [v2.MixUp(alpha=1.0), v2.CutMix(alpha=1.0)])
def test_mixed_images_have_soft_labels(mix: nn.Module) -> None:
    torch.manual_seed(0)
    images, labels = torch.eye(4).view(4, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3), torch.arange(4)
    mixed, soft_labels = Augmentation([mix], num_classes=4)(images, labels)
    assert (mixed.shape, soft_labels.shape) == (images.shape, (4, 4))
    torch.testing.assert_close(soft_labels.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.mean((2, 3)).sum(), torch.tensor(1.0))
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize("crop_area", [(0.0, 1.0), (0.5, 1.5), (0.9, 0.5)])
def test_invalid_crop_area_raises_value_error(crop_area: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=r"^`crop_area`=\[.*\] is out of range: expected \[minimum, maximum\] in \(0, 1\]\.$"
    ):
        RandomAffineCrop(crop_area=crop_area)


@pytest.mark.parametrize("scale", [(1.2, 0.8), (0.0, 1.0), (1.0,), (0.8, 1.0, 1.2)])
def test_invalid_scale_raises_value_error(scale: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^`scale`=\[.*\] is out of range: expected \[minimum, maximum\] above 0\.$"):
        RandomAffineCrop(scale=scale)


def test_uint8_pixels_are_normalized() -> None:
    preprocess = Preprocess(image_size=1, channels=3, resize="stretch", mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    pixels = torch.tensor([0, 255, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(to_float(pixels), preprocess).flatten().tolist() == [0.0, 1.0, 0.0]


def test_normalization_is_differentiable_after_inference_mode() -> None:
    preprocess = Preprocess(image_size=1, channels=1, resize="stretch", mean=(0.123,), std=(0.456,))  # not cached yet
    with torch.inference_mode():
        normalize(torch.rand(1, 1, 1, 1), preprocess)
    images = torch.rand(1, 1, 1, 1, requires_grad=True)
    normalize(images, preprocess).sum().backward()
    assert images.grad is not None
    assert images.grad.item() == pytest.approx(1 / 0.456)
