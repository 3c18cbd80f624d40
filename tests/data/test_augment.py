"""Every image of a batch gets its own change, the same one for the same seed."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from cnn_classifier.data.augment import RandomAffine, RandomColour, RandomFlip, augmentation, normalise, to_float
from cnn_classifier.data.preprocess import Preprocess

RANDOM: list[Callable[[], nn.Module]] = [
    RandomFlip,
    lambda: RandomAffine(degrees=20),
    lambda: RandomAffine(zoom=(0.7, 1.5)),
    lambda: RandomAffine(translate=0.2),
    lambda: RandomColour(brightness=0.3),
    lambda: RandomColour(contrast=0.3),
    lambda: RandomColour(saturation=0.3),
    lambda: v2.RandomErasing(p=1.0),  # torchvision's draw once a call: they go image by image
]


def same_image(count: int = 8) -> Tensor:
    """One image, so many times (B, 3, 16, 16): whatever differs afterwards was drawn."""
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return (0.2 + 0.6 * image).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("make", RANDOM)
def test_the_images_of_a_batch_are_changed_differently_and_repeatably(make: Callable[[], nn.Module]) -> None:
    augment = augmentation([make()])
    torch.manual_seed(1)
    changed = augment(same_image())
    torch.manual_seed(1)
    assert torch.equal(augment(same_image()), changed)
    assert changed.shape == (8, 3, 16, 16)
    assert len(torch.unique(changed, dim=0)) > 1
    assert not torch.equal(augment(same_image()), changed)


@pytest.mark.parametrize("transforms", [[], [RandomFlip(p=0.0), RandomAffine(), RandomColour()]])
def test_settings_of_no_change_leave_images_as_they_are(transforms: list[nn.Module]) -> None:
    torch.testing.assert_close(augmentation(transforms)(same_image()), same_image(), rtol=0, atol=1e-5)


def test_a_certain_flip_mirrors_left_to_right() -> None:
    assert torch.equal(RandomFlip(p=1.0)(same_image()), same_image().flip(-1))


def test_a_zoom_of_two_shows_the_middle_larger() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[..., 6:10, 6:10] = 1
    zoomed = RandomAffine(zoom=(2.0, 2.0))(images)
    assert zoomed[0, 0, 5:11, 5:11].min() == 1
    assert zoomed[0, 0, :3].max() == 0


def test_a_shift_is_a_share_of_the_side_and_brings_in_the_mirrored_image() -> None:
    columns = torch.linspace(0, 1, 20).expand(64, 1, 20, 20)
    torch.manual_seed(0)
    moved = RandomAffine(translate=0.25)(columns)
    assert (moved - columns).abs().max() < 0.25 * 20 / 19 + 1e-4
    assert (moved - columns).abs().max() > 0.2


def test_colours_stay_colours() -> None:
    torch.manual_seed(0)
    changed = RandomColour(brightness=0.9, contrast=0.9, saturation=0.9)(torch.rand(64, 3, 8, 8))
    assert changed.min() == 0
    assert changed.max() == 1


@pytest.mark.parametrize("zoom", [(1.2, 0.8), (0.0, 1.0), (1.0,), (0.8, 1.0, 1.2)])
def test_a_zoom_that_is_no_range_is_refused(zoom: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"^`zoom`=\[.*\] is out of range; expected \[smallest, largest\] above 0$"):
        RandomAffine(zoom=zoom)


def test_bytes_become_the_networks_input() -> None:
    preprocess = Preprocess(image_size=1, channels=3, resize="squash", mean=(0.0, 0.5, 1.0), std=(1.0, 0.5, 0.25))
    pixels = torch.tensor([0, 255, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert normalise(to_float(pixels), preprocess).flatten().tolist() == [0.0, 1.0, 0.0]
