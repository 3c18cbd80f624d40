"""The default network: any size goes in, each block begins by handing it on, and what cannot be is refused."""

import pytest
import torch
from torch import nn

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.resnet import ResidualBlock, ResNet


def network(**values: object) -> ResNet:
    return ResNet(**({"num_classes": 3, "channels": 3, "image_size": 32, "widths": [8, 16], "stem_channels": 4} | values))


@pytest.mark.parametrize("side", [16, 24, 33, 64])
def test_images_of_any_size_become_logits(side: int) -> None:
    assert network()(torch.rand(2, 3, side, side)).shape == (2, 3)


def test_grey_images_and_a_stem_that_keeps_their_size() -> None:
    net = network(channels=1, stem_stride=1, image_size=8)
    assert net.features[0](torch.rand(2, 1, 8, 8)).shape == (2, 4, 8, 8)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_a_block_begins_by_handing_on_what_it_is_given() -> None:
    first, second = (block for block in network().features if isinstance(block, ResidualBlock))
    for conv, channels in ((first.halve[0], 4), (first.conv, 8), (second.halve[0], 8), (second.conv, 16)):
        maps = torch.rand(2, channels, 8, 8)
        torch.testing.assert_close(conv(maps)[:, :channels], maps)


def test_the_scale_of_a_norm_in_a_block_is_not_learnt() -> None:
    blocks = [block for block in network().features if isinstance(block, ResidualBlock)]
    norms = [layer for block in blocks for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 4
    assert not any(layer.weight.requires_grad for layer in norms)
    assert all(layer.bias.requires_grad and (layer.weight == 1).all() for layer in norms)


def test_no_class_is_likelier_before_anything_is_learnt() -> None:
    assert not network()(torch.rand(2, 3, 32, 32)).any()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"image_size": 4}, "is too small for the network"),
        ({"widths": []}, r"model\.widths=\[\] is out of range"),
        ({"stem_channels": 0}, r"model\.stem_channels=0 is out of range"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0 is out of range"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        network(**values)
