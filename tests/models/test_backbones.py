"""Tests of a sample of the backbones of torchvision and timm; `scripts/backbones.py` tries all families."""

from pathlib import Path

import pytest
import torch

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import accepts_sizes, check_sizes, create_backbone, required_size
from cnn_classifier.models.feature_bank import forward_with_features
from cnn_classifier.models.pretrained import Pretrained
from cnn_classifier.models.validation import PRETRAINED_TARGET
from cnn_classifier.training.module import ImageClassifier


@pytest.mark.parametrize(
    ("backbone", "image_size", "head_names", "num_features"),
    [
        ("mnasnet0_5", 64, ["classifier.1"], 1280),  # its state dict has a version
        ("squeezenet1_1", 64, ["classifier.1"], None),  # the head is a convolution before the pooling
        ("deit_tiny_distilled_patch16_224", 64, ["head", "head_dist"], 192),
        ("levit_128s", 224, ["head.linear", "head_dist.linear"], 384),  # other linear layers follow in the list
        ("efficientformerv2_s0", 224, ["head", "head_dist"], 176),
        ("vit_tiny_patch16_dinov3_qkvb", 64, ["head"], 192),  # the weights have no head
        ("resnetv2_18", 64, ["head.fc"], 512),  # a convolution after the pooling
    ],
)
def test_backbone_is_trained_and_restored_with_all_its_heads(
    backbone: str, image_size: int, head_names: list[str], num_features: int | None, tmp_path: Path
) -> None:
    if backbone not in ("mnasnet0_5", "squeezenet1_1"):
        pytest.importorskip("timm")
    torch.manual_seed(0)
    torch.save(create_backbone(backbone, image_size=image_size).state_dict(), tmp_path / "weights.pth")
    model = {"_target_": PRETRAINED_TARGET, "backbone": backbone, "weights": str(tmp_path / "weights.pth"), "freeze": 1}
    classifier = ImageClassifier(model, num_classes=3, image_size=image_size)
    network = classifier.network
    assert isinstance(network, Pretrained)
    assert network.head_names == head_names
    network.load_weights()
    network.set_progress(0.5)
    images = torch.rand(2, 3, image_size, image_size)
    classifier(images).sum().backward()
    for name in head_names:
        assert network.backbone.get_parameter(f"{name}.1.weight").grad is not None
    assert next(network.parameters()).grad is None
    restored = ImageClassifier(**classifier.hparams)
    restored.load_state_dict(classifier.state_dict())
    with torch.no_grad():
        logits, features = forward_with_features(classifier.eval(), images)
        torch.testing.assert_close(restored.eval()(images), logits)
    assert logits.shape == (2, 3)
    assert num_features == (None if features is None else features.shape[1])


def test_required_size_is_measured_for_networks_of_torchvision() -> None:
    assert required_size("maxvit_t", [128]) == 224
    assert required_size("alexnet", [32, 128]) == 224
    assert required_size("alexnet", [128, 160]) is None
    assert accepts_sizes("regnet_y_400mf", [64])  # its constructor computes with tensors


def test_sizes_that_a_backbone_does_not_accept_raise_config_error() -> None:
    with pytest.raises(
        ConfigError, match=r"dataset\.image_size=96: model\.backbone=vit_b_16 does not .*; expected 224$"
    ):
        check_sizes("vit_b_16", 96)
    with pytest.raises(ConfigError, match=r"dataset\.train_sizes=\[48, 128\]: model\.backbone=alexnet does not accept"):
        check_sizes("alexnet", 128, [48, 128])
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"dataset\.image_size=100: .*; expected 256, or for example 128$"):
        check_sizes("vit_small_patch16_dinov3", 100)
    check_sizes("swin_tiny_patch4_window7_224", 128)  # created for this size
