"""Tests of the residual network."""

import pytest
import torch
from torch import nn

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.resnet import ResidualBlock, ResNet


def make_network(**overrides: object) -> ResNet:
    return ResNet(
        **({"num_classes": 3, "channels": 3, "image_size": 32, "widths": [8, 16], "stem_channels": 4} | overrides)
    )


@pytest.mark.parametrize("image_size", [16, 24, 33, 64])
def test_forward_accepts_any_image_size(image_size: int) -> None:
    assert make_network()(torch.rand(2, 3, image_size, image_size)).shape == (2, 3)


def test_stem_stride_1_preserves_the_size_of_gray_images() -> None:
    net = make_network(channels=1, stem_stride=1, image_size=8)
    assert net.features[0](torch.rand(2, 1, 8, 8)).shape == (2, 4, 8, 8)
    assert net(torch.rand(2, 1, 8, 8)).shape == (2, 3)


def test_convolutions_of_blocks_are_initialized_to_the_identity() -> None:
    first, second = (block for block in make_network().features if isinstance(block, ResidualBlock))
    for conv, channels in ((first.halve[0], 4), (first.conv, 8), (second.halve[0], 8), (second.conv, 16)):
        features = torch.rand(2, channels, 8, 8)
        torch.testing.assert_close(conv(features)[:, :channels], features)


def test_scales_of_batch_norms_in_blocks_are_not_trainable() -> None:
    blocks = [block for block in make_network().features if isinstance(block, ResidualBlock)]
    norms = [layer for block in blocks for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(norms) == 4
    assert not any(layer.weight.requires_grad for layer in norms)
    assert all(layer.bias.requires_grad and (layer.weight == 1).all() for layer in norms)


def test_initial_logits_are_zero() -> None:
    assert not make_network()(torch.rand(2, 3, 32, 32)).any()


def test_missing_image_size_skips_the_size_check() -> None:
    network = ResNet(num_classes=3)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"image_size": 4}, "is too small for the network"),
        ({"widths": []}, r"model\.widths=\[\] is out of range"),
        ({"stem_channels": 0}, r"model\.stem_channels=0 is out of range"),
        ({"dropout": 1.0}, r"model\.dropout=1\.0 is out of range"),
    ],
)
def test_invalid_value_raises_config_error(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_network(**overrides)
