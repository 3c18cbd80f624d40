"""Every network takes the images it was sized for, and refuses sizes that it cannot be built with."""

from typing import Any

import pytest
import torch

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.baseline import Baseline
from cnn_classifier.models.cnn import CNN

NETWORKS = [Baseline, CNN]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("image_size", "channels", "num_classes"), [(16, 1, 10), (33, 3, 2), (4, 3, 7)])
def test_images_become_one_logit_a_class(network: Any, image_size: int, channels: int, num_classes: int) -> None:
    built = network(num_classes=num_classes, channels=channels, image_size=image_size, widths=[4, 6], hidden_dim=5)
    assert built(torch.zeros(2, channels, image_size, image_size)).shape == (2, num_classes)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_parameter_learns(network: Any) -> None:
    torch.manual_seed(0)
    built = network(num_classes=3, channels=3, image_size=8, widths=[4], hidden_dim=16)
    built(torch.rand(4, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in built.parameters())


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"image_size": 7, "widths": [4, 4, 4]},
            "dataset.image_size=7 is too small for the network: model.widths=[4, 4, 4] halves the image 3 times; "
            "expected at least 8 pixels, or fewer widths",
        ),
        ({"dropout": 1.0}, "model.dropout=1.0 is out of range; expected a probability from 0 up to 1"),
        ({"dropout": -0.1}, "model.dropout=-0.1 is out of range"),
        ({"widths": []}, "model.widths=[] is out of range; expected one or more whole numbers above 0"),
        ({"widths": [8, 0]}, "model.widths=[8, 0] is out of range"),
        ({"hidden_dim": 0}, "model.hidden_dim="),
    ],
)
def test_values_that_make_no_network_are_named(network: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        network(**{"num_classes": 2, "channels": 3, "image_size": 32, **values})
    assert str(raised.value).startswith(message)


def test_the_cnn_checks_the_dropout_of_its_head() -> None:
    with pytest.raises(ConfigError, match=r"^model\.head_dropout=2 is out of range"):
        CNN(num_classes=2, channels=3, image_size=32, head_dropout=2)
