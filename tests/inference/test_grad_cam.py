"""A heat map lies on what the network has seen, for every network that looks with convolutions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.inference.grad_cam import NO_CONVOLUTION_MESSAGE, find_target_layer, grad_cam
from cnn_classifier.training.module import ImageClassifier

SIDE = 32
MODELS = {
    "baseline.Baseline": {"widths": [4, 4]},
    "cnn.CNN": {"widths": [4, 4]},
    "resnet.ResNet": {"widths": [4, 8], "stem_channels": 4},
    "pretrained.Pretrained": {"backbone": "resnet18", "weights": None},
}


def classifier(name: str, **arguments: Any) -> ImageClassifier:
    preprocess = Preprocess(image_size=SIDE, channels=3, resize="stretch", mean=(0.5,) * 3, std=(0.5,) * 3)
    return ImageClassifier(
        model={"_target_": f"cnn_classifier.models.{name}", **arguments},
        class_names=["cats", "dogs"],
        preprocess=preprocess.to_dict(),
        optimizer={},
        scheduler={},
        loss={"class_weights": None, "label_smoothing": 0.0},
    ).eval()


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_ours_has_maps_from_0_to_1(name: str) -> None:
    torch.manual_seed(0)
    network = classifier(name, **MODELS[name])
    with torch.no_grad():  # before it has learnt, a residual branch adds nothing
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    pixels = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3)).astype(np.uint8)

    maps, remark = grad_cam(network, pixels, [index % 2 for index in range(20)])

    assert remark == ""
    assert len(maps) == 20
    for heat in maps:
        assert heat.dtype == np.float32
        assert (heat.min(), heat.max()) == (0.0, pytest.approx(1.0))
    assert not np.allclose(maps[0], grad_cam(network, pixels[:1], [1])[0][0])  # another class, another map
    assert network.training is False


def test_the_map_lies_where_the_evidence_is() -> None:
    network = classifier("baseline.Baseline", widths=[2, 2], hidden_dim=2, dropout=0.0)
    with torch.no_grad():  # bright is a dog
        for name, parameter in network.network.named_parameters():
            parameter.fill_(0.1 if "weight" in name else 0.0)
        network.network.head[-1].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, SIDE // 2 :] = 255

    ((heat,), _) = grad_cam(network, pixels, [1])

    half = len(heat) // 2
    assert heat[: half - 1, half + 1 :].mean() > 0.8
    assert heat[half + 1 :, : half - 1].max() == 0.0


def test_the_last_map_that_is_not_too_coarse_is_taken() -> None:
    network = classifier("resnet.ResNet", widths=[4, 8, 16, 32], stem_channels=4)  # 32 px: 16, 8, 4, 2, 1
    layer = find_target_layer(network, torch.zeros(1, 3, SIDE, SIDE))
    assert layer is network.network.features[4].conv or layer is network.network.features[5].halve[0]
    found: list[torch.Size] = []
    layer.register_forward_hook(lambda *hooked: found.append(hooked[2].shape))
    network(torch.zeros(1, 3, SIDE, SIDE))
    assert found[0][-2:] == (4, 4)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 2)),
        nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(4 * 16, 2)),  # patches of a transformer
    ],
    ids=["dense", "patches"],
)
def test_a_network_that_looks_otherwise_has_none_and_says_so(network: nn.Module) -> None:
    without = classifier("baseline.Baseline", widths=[2])
    without.network = network
    assert grad_cam(without, np.zeros((1, SIDE, SIDE, 3), np.uint8), [0]) == ([], NO_CONVOLUTION_MESSAGE)
