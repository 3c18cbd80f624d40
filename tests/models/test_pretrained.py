"""Tests of pretrained backbones: weights, gradual unfreezing and learning rates."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.backbones import mean_and_std, required_size
from cnn_classifier.models.pretrained import Pretrained
from cnn_classifier.training.optim import build_optimizer


def make_network(**overrides: object) -> Pretrained:
    arguments = {"num_classes": 3, "channels": 3, "image_size": 64, "backbone": "resnet18", "weights": None}
    return Pretrained(**(arguments | overrides))


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a resnet18 with 1,000 classes, in the format of torchvision."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_load_weights_loads_the_backbone_without_the_head(weights_path: Path) -> None:
    network = make_network(weights=str(weights_path))
    network.load_weights()
    weights = torch.load(weights_path, weights_only=True)
    torch.testing.assert_close(network.backbone.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_weights_with_other_names_are_matched_by_order(weights_path: Path, tmp_path: Path) -> None:
    weights = torch.load(weights_path, weights_only=True)
    torch.save({"state_dict": {f"_{index}": value for index, value in enumerate(weights.values())}}, tmp_path / "w.pth")
    network = make_network(weights=str(tmp_path / "w.pth"))
    network.load_weights()
    torch.testing.assert_close(network.backbone.conv1.weight, weights["conv1.weight"])


def test_weights_of_another_network_raise_checkpoint_error(weights_path: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has 102 tensors: expected the 182 tensors of this backbone"):
        make_network(backbone="resnet34", weights=str(weights_path)).load_weights()
    weights = torch.load(weights_path, weights_only=True)
    torch.save(weights | {"conv1.weight": torch.rand(64, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"conv1\.weight has shape \(64, 3, 3, 3\): expected \(64, 3, 7, 7\) for this backbone"
    ):
        make_network(weights=str(tmp_path / "w.pth")).load_weights()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pth", None, "does not exist"),
        ("text.pth", b"text", "is not a weights file"),
        ("text.safetensors", b"text", "is not a weights file"),
    ],
)
def test_invalid_weights_file_raises_checkpoint_error(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        make_network(weights=str(tmp_path / name)).load_weights()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"backbone": "resnet19"}, r"model\.backbone=resnet19 is unknown to torchvision"),
        ({"freeze": 2.0}, r"model\.freeze=2\.0 is out of range"),
    ],
)
def test_invalid_value_raises_config_error(overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_network(**overrides)


def is_trainable(network: Pretrained) -> list[bool]:
    return [all(parameter.requires_grad for parameter in block.parameters()) for block in network.blocks()]


def test_blocks_are_unfrozen_from_the_head_to_the_first_layer() -> None:
    network = make_network(freeze=0.25, unfreeze=0.5)
    num_blocks = len(network.blocks())
    network.set_progress(0.0)
    assert is_trainable(network) == [False] * (num_blocks - 1) + [True]
    network.set_progress(0.5)
    assert 1 < sum(is_trainable(network)) < num_blocks
    assert is_trainable(network) == sorted(is_trainable(network))
    network.set_progress(0.75)
    assert all(is_trainable(network))


def test_statistics_of_frozen_batch_norms_do_not_change() -> None:
    network = make_network(freeze=1.0)
    network.set_progress(0.9)
    network.train()
    before = network.backbone.bn1.running_mean.clone()
    network(torch.rand(4, 3, 64, 64))
    assert torch.equal(network.backbone.bn1.running_mean, before)


def test_frozen_statistics_of_trainable_batch_norms_do_not_change() -> None:
    network = make_network(freeze_norm=True)
    before = network.backbone.bn1.running_mean.clone()
    network.train()(torch.rand(4, 3, 64, 64)).sum().backward()
    assert torch.equal(network.backbone.bn1.running_mean, before)
    assert network.backbone.bn1.weight.grad is not None
    assert network.backbone.fc[0].training  # the dropout


def test_layer_decay_reduces_the_learning_rate_of_early_blocks() -> None:
    network = make_network(layer_decay=0.5)
    optimizer = build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1.0, "weight_decay": 0.1}, network)
    lrs = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(lrs) == len(list(network.parameters()))
    assert lrs[id(network.backbone.fc[1].weight)] == 1.0
    assert lrs[id(network.backbone.layer4[1].conv1.weight)] == 0.5
    assert lrs[id(network.backbone.conv1.weight)] < 0.01


def test_parameters_outside_of_blocks_have_a_learning_rate() -> None:
    network = make_network(backbone="vit_b_32", image_size=224)
    parameter_ids = {id(parameter) for parameter in network.parameters()}
    assert {id(parameter) for group, _ in network.lr_multipliers() for parameter in group} == parameter_ids


def test_forward_accepts_gray_images() -> None:
    assert make_network(channels=1)(torch.rand(2, 1, 64, 64)).shape == (2, 3)


def test_mean_and_std_are_those_of_the_pretrained_weights() -> None:
    assert mean_and_std("resnet18")["mean"] == [0.485, 0.456, 0.406]
    timm = pytest.importorskip("timm")
    assert mean_and_std("tf_efficientnet_lite0") == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert isinstance(timm.create_model("tf_efficientnet_lite0"), nn.Module)


def test_frozen_backbone_trains_only_the_head() -> None:
    network = make_network(backbone="vit_b_32", image_size=224, freeze=1.0)
    network.set_progress(0.5)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        "backbone.heads.head.1.weight",
        "backbone.heads.head.1.bias",
    }


def test_weights_without_batch_counts_are_loaded(weights_path: Path, tmp_path: Path) -> None:
    weights = torch.load(weights_path, weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pth")
    network = make_network(weights=str(tmp_path / "w.pth"))
    network.load_weights()
    torch.testing.assert_close(network.backbone.bn1.weight, weights["bn1.weight"])


def test_image_size_and_channels_are_optional() -> None:
    assert Pretrained(num_classes=3, backbone="resnet18", weights=None)(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_required_size_is_none_for_backbones_of_any_size() -> None:
    assert required_size("vit_b_16", [128]) == 224
    assert required_size("resnet18", [32, 128]) is None
