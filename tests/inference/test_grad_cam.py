"""Grad-CAM heatmaps for all architectures."""

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


def make_classifier(name: str, **arguments: Any) -> ImageClassifier:
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
def test_heatmaps_of_all_architectures_range_from_0_to_1(name: str) -> None:
    torch.manual_seed(0)
    classifier = make_classifier(name, **MODELS[name])
    with torch.no_grad():  # residual branches are initialized to zero
        for parameter in classifier.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    pixels = np.random.default_rng(0).integers(0, 256, (20, SIDE, SIDE, 3)).astype(np.uint8)

    heatmaps, message = grad_cam(classifier, pixels, [index % 2 for index in range(20)])

    assert message == ""
    assert len(heatmaps) == 20
    for heatmap in heatmaps:
        assert heatmap.dtype == np.float32
        assert (heatmap.min(), heatmap.max()) == (0.0, pytest.approx(1.0))
    assert not np.allclose(heatmaps[0], grad_cam(classifier, pixels[:1], [1])[0][0])  # depends on the class
    assert classifier.training is False


def test_heatmap_is_high_where_the_evidence_is() -> None:
    classifier = make_classifier("baseline.Baseline", widths=[2, 2], hidden_dim=2, dropout=0.0)
    with torch.no_grad():  # bright images are dogs
        for name, parameter in classifier.network.named_parameters():
            parameter.fill_(0.1 if "weight" in name else 0.0)
        classifier.network.head[-1].weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    pixels[:, : SIDE // 2, SIDE // 2 :] = 255

    ((heatmap,), _) = grad_cam(classifier, pixels, [1])

    half = len(heatmap) // 2
    assert heatmap[: half - 1, half + 1 :].mean() > 0.8
    assert heatmap[half + 1 :, : half - 1].max() == 0.0


def test_target_layer_is_the_last_with_a_sufficiently_fine_map() -> None:
    classifier = make_classifier("resnet.ResNet", widths=[4, 8, 16, 32], stem_channels=4)  # 32 px: 16, 8, 4, 2, 1
    layer = find_target_layer(classifier, torch.zeros(1, 3, SIDE, SIDE))
    assert layer is classifier.network.features[4].conv or layer is classifier.network.features[5].halve[0]
    shapes: list[torch.Size] = []
    layer.register_forward_hook(lambda *arguments: shapes.append(arguments[2].shape))
    classifier(torch.zeros(1, 3, SIDE, SIDE))
    assert shapes[0][-2:] == (4, 4)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 2)),
        nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(4 * 16, 2)),  # a patch embedding
    ],
    ids=["dense", "patches"],
)
def test_network_without_convolutions_returns_no_heatmaps_and_a_message(network: nn.Module) -> None:
    classifier = make_classifier("baseline.Baseline", widths=[2])
    classifier.network = network
    assert grad_cam(classifier, np.zeros((1, SIDE, SIDE, 3), np.uint8), [0]) == ([], NO_CONVOLUTION_MESSAGE)
