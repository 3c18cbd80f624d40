"""Tests of the networks with a flattening head."""

from typing import Any

import pytest
import torch

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.baseline import Baseline
from cnn_classifier.models.cnn import CNN

NETWORKS = [Baseline, CNN]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("image_size", "channels", "num_classes"), [(16, 1, 10), (33, 3, 2), (4, 3, 7)])
def test_forward_returns_one_logit_per_class(network: Any, image_size: int, channels: int, num_classes: int) -> None:
    model = network(num_classes=num_classes, channels=channels, image_size=image_size, widths=[4, 6], hidden_dim=5)
    assert model(torch.zeros(2, channels, image_size, image_size)).shape == (2, num_classes)


@pytest.mark.parametrize("network", NETWORKS)
def test_all_parameters_get_gradients(network: Any) -> None:
    torch.manual_seed(0)
    model = network(num_classes=3, channels=3, image_size=8, widths=[4], hidden_dim=16)
    model(torch.rand(4, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"image_size": 7, "widths": [4, 4, 4]},
            "dataset.image_size=7 is too small for the network: model.widths=[4, 4, 4] halves the image 3 times: "
            "expected at least 8 pixels, or fewer widths",
        ),
        ({"dropout": 1.0}, "model.dropout=1.0 is out of range: expected at least 0 and less than 1"),
        ({"dropout": -0.1}, "model.dropout=-0.1 is out of range"),
        ({"widths": []}, "model.widths=[] is out of range: expected one or more positive integers"),
        ({"widths": [8, 0]}, "model.widths=[8, 0] is out of range"),
        ({"hidden_dim": 0}, "model.hidden_dim="),
    ],
)
def test_invalid_value_raises_config_error(network: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        network(**{"num_classes": 2, "channels": 3, "image_size": 32, **values})
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("network", NETWORKS)
def test_missing_image_size_raises_config_error(network: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{network.__name__} requires image_size, .* for example image_size=128$"):
        network(num_classes=2)


def test_cnn_invalid_head_dropout_raises_config_error() -> None:
    with pytest.raises(ConfigError, match=r"^model\.head_dropout=2 is out of range"):
        CNN(num_classes=2, channels=3, image_size=32, head_dropout=2)
