"""Every image of a batch gets its own change, the same one for the same seed."""

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

RANDOM: list[Callable[[], nn.Module]] = [
    RandomHorizontalFlip,
    lambda: RandomAffineCrop(degrees=20),
    lambda: RandomAffineCrop(scale=(0.7, 1.5)),
    lambda: RandomAffineCrop(translate=0.2),
    lambda: RandomAffineCrop(crop_area=(0.3, 0.6)),
    lambda: RandomCutout(p=0.5),
    lambda: RandomColorJitter(brightness=0.3),
    lambda: RandomColorJitter(contrast=0.3),
    lambda: RandomColorJitter(saturation=0.3),
    lambda: v2.RandomErasing(p=1.0),  # torchvision's draw once a call: they go image by image
]


def same_image(count: int = 8) -> Tensor:
    """One image, so many times (B, 3, 16, 16): whatever differs afterwards was drawn."""
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return (0.2 + 0.6 * image).repeat(count, 1, 1, 1)


def changed_by(transforms: list[nn.Module], images: Tensor, size: int | None = None) -> Tensor:
    labels = torch.arange(len(images))
    changed, same = Augmentation(transforms, num_classes=len(images))(images, labels, size)
    assert torch.equal(same, labels)
    return changed


@pytest.mark.parametrize("make", RANDOM)
def test_the_images_of_a_batch_are_changed_differently_and_repeatably(make: Callable[[], nn.Module]) -> None:
    transforms = [make()]
    torch.manual_seed(1)
    changed = changed_by(transforms, same_image())
    torch.manual_seed(1)
    assert torch.equal(changed_by(transforms, same_image()), changed)
    assert changed.shape == (8, 3, 16, 16)
    assert len(torch.unique(changed, dim=0)) > 1
    assert not torch.equal(changed_by(transforms, same_image()), changed)


@pytest.mark.parametrize(
    "transforms", [[], [RandomHorizontalFlip(p=0.0), RandomAffineCrop(), RandomColorJitter(), RandomCutout(p=0.0)]]
)
def test_settings_of_no_change_leave_images_as_they_are(transforms: list[nn.Module]) -> None:
    torch.testing.assert_close(changed_by(transforms, same_image()), same_image(), rtol=0, atol=1e-5)


def test_a_certain_flip_mirrors_left_to_right() -> None:
    assert torch.equal(RandomHorizontalFlip(p=1.0)(same_image()), same_image().flip(-1))


def test_a_zoom_of_two_shows_the_middle_larger() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[..., 6:10, 6:10] = 1
    zoomed = RandomAffineCrop(scale=(2.0, 2.0))(images)
    assert zoomed[0, 0, 5:11, 5:11].min() == 1
    assert zoomed[0, 0, :3].max() == 0


def test_a_shift_is_a_share_of_the_side_and_brings_in_the_mirrored_image() -> None:
    columns = torch.linspace(0, 1, 20).expand(64, 1, 20, 20)
    torch.manual_seed(0)
    moved = RandomAffineCrop(translate=0.25)(columns)
    assert (moved - columns).abs().max() < 0.25 * 20 / 19 + 1e-4
    assert (moved - columns).abs().max() > 0.2


def test_an_image_that_is_only_shifted_stays_sharp() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 3, 16, 16)
    moved = RandomAffineCrop(translate=0.125)(images)
    assert all(torch.isin(moved[i].mul(1e4).round(), images[i].mul(1e4).round()).all() for i in range(64))
    assert (moved != images).flatten(1).any(1).sum() > 40


def test_colours_stay_colours() -> None:
    torch.manual_seed(0)
    changed = RandomColorJitter(brightness=0.9, contrast=0.9, saturation=0.9)(torch.rand(64, 3, 8, 8))
    assert changed.min() == 0
    assert changed.max() == 1


def test_a_crop_keeps_its_share_of_the_area_from_anywhere_in_the_image() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    torch.manual_seed(0)
    cropped = RandomAffineCrop(crop_area=(0.25, 0.25))(torch.stack([rows, columns]).repeat(200, 1, 1, 1))
    low, high = cropped.amin((2, 3)), cropped.amax((2, 3))
    torch.testing.assert_close(high - low, torch.full((200, 2), 0.5), rtol=0, atol=0.02)
    assert low.min() < 0.02
    assert high.max() > 0.98
    assert 0.2 < low.mean() < 0.3


def test_an_erased_rectangle_has_the_mean_colour_and_its_share_of_the_area() -> None:
    torch.manual_seed(0)
    images = torch.rand(300, 3, 40, 40)
    erased = RandomCutout(p=0.5, scale=(0.1, 0.2), ratio=(0.5, 2.0))(images)
    covered = (erased != images).any(1)
    shares = covered.float().mean((1, 2))
    assert 0.4 < (shares > 0).float().mean() < 0.6
    assert 0.07 < shares[shares > 0].min() < shares.max() < 0.23
    first = int(shares.argmax())
    torch.testing.assert_close(erased[first][:, covered[first]].unique(dim=1)[:, 0], images[first].mean((1, 2)))


@pytest.mark.parametrize("transforms", [[], [RandomHorizontalFlip()], [RandomAffineCrop(degrees=9)]])
def test_images_come_out_as_small_as_they_are_wanted(transforms: list[nn.Module]) -> None:
    assert changed_by(transforms, same_image(), size=12).shape == (8, 3, 12, 12)
    assert changed_by(transforms, same_image()).shape == (8, 3, 16, 16)


def test_half_the_size_is_the_mean_of_four_pixels_whichever_way_it_is_made() -> None:
    expected = nn.functional.avg_pool2d(same_image(), 2)
    torch.testing.assert_close(changed_by([RandomAffineCrop()], same_image(), size=8), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mix", [v2.MixUp(alpha=1.0), v2.CutMix(alpha=1.0)])
def test_mixed_images_have_labels_in_shares(mix: nn.Module) -> None:
    torch.manual_seed(0)
    images, labels = torch.eye(4).view(4, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3), torch.arange(4)
    mixed, shares = Augmentation([mix], num_classes=4)(images, labels)
    assert (mixed.shape, shares.shape) == (images.shape, (4, 4))
    torch.testing.assert_close(shares.sum(1), torch.ones(4))
    torch.testing.assert_close(mixed.mean((2, 3)).sum(), torch.tensor(1.0))
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize("crop", [(0.0, 1.0), (0.5, 1.5), (0.9, 0.5)])
def test_a_crop_that_is_no_share_is_refused(crop: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"^`crop`=\[.*\] is out of range; expected \[smallest, largest\] share"):
        RandomAffineCrop(crop_area=crop)


@pytest.mark.parametrize("zoom", [(1.2, 0.8), (0.0, 1.0), (1.0,), (0.8, 1.0, 1.2)])
def test_a_zoom_that_is_no_range_is_refused(zoom: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^`zoom`=\[.*\] is out of range; expected \[smallest, largest\] above 0$"):
        RandomAffineCrop(scale=zoom)


def test_bytes_become_the_networks_input() -> None:
    preprocess = Preprocess(image_size=1, channels=3, resize="stretch", mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    pixels = torch.tensor([0, 255, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalize(to_float(pixels), preprocess).flatten().tolist() == [0.0, 1.0, 0.0]
