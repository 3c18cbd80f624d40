"""A pretrained backbone: weights come by name or by order, parts learn in turn, and a checkpoint needs no download."""

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.backbones import mean_and_std, required_size
from cnn_classifier.models.pretrained import Pretrained
from cnn_classifier.training.optim import build_optimizer


def network(**values: object) -> Pretrained:
    given = {"num_classes": 3, "channels": 3, "image_size": 64, "backbone": "resnet18", "weights": None}
    return Pretrained(**(given | values))


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a resnet18 with a thousand classes, as its makers would publish them."""
    torch.manual_seed(7)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_the_backbone_has_the_weights_of_the_file_and_the_head_is_new(learnt: Path) -> None:
    net = network(weights=str(learnt))
    net.load_weights()
    weights = torch.load(learnt, weights_only=True)
    torch.testing.assert_close(net.backbone.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])
    assert net(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_files_that_name_the_layers_otherwise_fit_by_their_order(learnt: Path, tmp_path: Path) -> None:
    weights = torch.load(learnt, weights_only=True)
    torch.save({"state_dict": {f"_{index}": value for index, value in enumerate(weights.values())}}, tmp_path / "w.pth")
    net = network(weights=str(tmp_path / "w.pth"))
    net.load_weights()
    torch.testing.assert_close(net.backbone.conv1.weight, weights["conv1.weight"])


def test_a_file_of_another_network_is_refused(learnt: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="102 tensors are not of this backbone, which has 182"):
        network(backbone="resnet34", weights=str(learnt)).load_weights()
    weights = torch.load(learnt, weights_only=True)
    torch.save(weights | {"conv1.weight": torch.rand(64, 3, 3, 3)}, tmp_path / "w.pth")
    with pytest.raises(
        CheckpointError, match=r"conv1\.weight is \(64, 3, 3, 3\), and \(64, 3, 7, 7\) in this backbone"
    ):
        network(weights=str(tmp_path / "w.pth")).load_weights()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.pth", None, "does not exist"),
        ("words.pth", b"no weights", "is no file of weights"),
        ("words.safetensors", b"no weights", "is no file of weights"),
    ],
)
def test_a_file_of_something_else_is_refused(name: str, content: bytes | None, told: str, tmp_path: Path) -> None:
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=told):
        network(weights=str(tmp_path / name)).load_weights()


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"backbone": "resnet19"}, r"model\.backbone=resnet19 is (unknown|none of torchvision's)"),
        ({"backbone": "squeezenet1_0"}, r"model\.backbone=squeezenet1_0"),
        ({"freeze": 2.0}, r"model\.freeze=2\.0 is out of range"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        network(**values)


def learning(net: Pretrained) -> list[bool]:
    return [all(parameter.requires_grad for parameter in part.parameters()) for part in net.blocks()]


def test_the_head_learns_first_and_the_parts_join_in_from_the_last_to_the_first() -> None:
    net = network(freeze=0.25, unfreeze=0.5)
    count = len(net.blocks())
    net.set_progress(0.0)
    assert learning(net) == [False] * (count - 1) + [True]
    net.set_progress(0.5)
    assert 1 < sum(learning(net)) < count
    assert learning(net) == sorted(learning(net))
    net.set_progress(0.75)
    assert all(learning(net))


def test_norms_that_rest_keep_their_statistics() -> None:
    net = network(freeze=1.0)
    net.set_progress(0.9)
    net.train()
    before = net.backbone.bn1.running_mean.clone()
    net(torch.rand(4, 3, 64, 64))
    assert torch.equal(net.backbone.bn1.running_mean, before)


def test_early_parts_learn_more_slowly_and_nothing_is_left_out() -> None:
    net = network(layer_decay=0.5)
    optimizer = build_optimizer({"_target_": "torch.optim.AdamW", "lr": 1.0, "weight_decay": 0.1}, net)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(net.parameters()))
    assert rates[id(net.backbone.fc[1].weight)] == 1.0
    assert rates[id(net.backbone.layer4[1].conv1.weight)] == 0.5
    assert rates[id(net.backbone.conv1.weight)] < 0.01


def test_parameters_outside_all_parts_learn_too() -> None:
    net = network(backbone="vit_b_32", image_size=224)
    everything = {id(parameter) for parameter in net.parameters()}
    assert {id(parameter) for group, _ in net.lr_multipliers() for parameter in group} == everything


def test_grey_images_are_shown_three_times() -> None:
    assert network(channels=1)(torch.rand(2, 1, 64, 64)).shape == (2, 3)


def test_images_are_normalised_as_the_backbone_knows_them() -> None:
    assert mean_and_std("resnet18")["mean"] == [0.485, 0.456, 0.406]
    timm = pytest.importorskip("timm")
    assert mean_and_std("tf_efficientnet_lite0") == {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert isinstance(timm.create_model("tf_efficientnet_lite0"), nn.Module)


def test_nothing_but_the_head_learns_while_the_backbone_rests() -> None:
    net = network(backbone="vit_b_32", image_size=224, freeze=1.0)
    net.set_progress(0.5)
    assert {name for name, p in net.named_parameters() if p.requires_grad} == {
        "backbone.heads.head.1.weight",
        "backbone.heads.head.1.bias",
    }


def test_files_without_the_counts_of_norms_fit(learnt: Path, tmp_path: Path) -> None:
    weights = torch.load(learnt, weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pth")
    net = network(weights=str(tmp_path / "w.pth"))
    net.load_weights()
    torch.testing.assert_close(net.backbone.bn1.weight, weights["bn1.weight"])


def test_backbones_of_one_size_say_so() -> None:
    assert required_size("vit_b_16") == 224
    assert required_size("resnet18") is None
