"""Plain data becomes the object it names, or an error that says which word is wrong; nothing else is ever called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from cnn_classifier.config.instantiate import (
    check_trusted_hparams,
    instantiate,
    instantiate_all,
    without_pretrained_weights,
)
from cnn_classifier.config.signature import matches_type
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.cnn import CNN

CNN_NODE = {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "hidden_dim": 4}
WIRED = {"num_classes": 2, "channels": 3, "image_size": 8}


def test_a_node_becomes_the_class_it_names_and_values_from_the_code_win() -> None:
    network = instantiate(CNN_NODE | {"num_classes": 9}, nn.Module, **WIRED)
    assert isinstance(network, CNN)
    assert network.head[-1].out_features == 2


def test_a_group_is_built_without_what_is_set_to_null() -> None:
    nodes = {"relu": {"_target_": "torch.nn.ReLU"}, "flip": None, "flat": {"_target_": "torch.nn.Flatten"}}
    assert [type(built) for built in instantiate_all(nodes, nn.Module)] == [nn.ReLU, nn.Flatten]


@pytest.mark.parametrize(
    ("target", "key", "value"),
    [
        ("os.system", "command", "touch sentinel"),
        ("subprocess.Popen", "args", ["touch", "sentinel"]),
        ("os.mkdir", "path", "sentinel"),
        ("torch.optim.SGD", "lr", 0.1),
        ("torch.nn.functional.relu", "inplace", True),
        ("cnn_classifier.models.cnn.nn", "p", 1),
    ],
)
def test_what_is_not_of_the_expected_kind_is_never_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, key: str, value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        instantiate({"_target_": target, key: value}, nn.Module)
    assert str(raised.value) == f"_target_: {target} is not allowed here; expected a subclass of Module"
    assert not (tmp_path / "sentinel").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"drop_out": 0.1}, " has no 'drop_out'; did you mean 'dropout'?"),
        ({"zzz": 1}, " has no 'zzz'; expected one of: channels, dropout, head_dropout, hidden_dim"),
        ({"hidden_dim": "many"}, ": hidden_dim='many' is of the wrong type: expected int"),
        ({"dropout": "high"}, ": dropout='high' is of the wrong type: expected float"),
        ({"widths": 32}, ": widths=32 is of the wrong type: expected a list of int"),
        ({"widths": [32, "64"]}, ": widths=[32, '64'] is of the wrong type: expected a list of int"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        instantiate(CNN_NODE | values, nn.Module, **WIRED)
    assert str(raised.value).startswith(f"cnn_classifier.models.cnn.CNN{message}")


@pytest.mark.parametrize("name", ["cnn_classifier.models.cnn.CNM", "cnn_classifier.modles.CNN", "CNN", "", "torch.nn."])
def test_a_name_that_leads_nowhere_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^_target_: .* cannot be imported \(.*\); expected package\.module\.Class$"):
        instantiate({"_target_": name}, nn.Module)


def test_the_constructors_own_refusal_comes_through() -> None:
    with pytest.raises(ConfigError, match=r"^model\.dropout=2\.0 is out of range"):
        instantiate(CNN_NODE | {"dropout": 2.0}, nn.Module, **WIRED)
    with pytest.raises(ConfigError, match=r"^torch\.nn\.Linear refuses its values: .*missing .* 'out_features'"):
        instantiate({"_target_": "torch.nn.Linear", "in_features": 2}, nn.Module)


@pytest.mark.parametrize(
    ("hint", "fitting", "others"),
    [
        (float, [1, 0.5], [True, "1"]),
        (int, [1], [True, 1.0]),
        (int | None, [1, None], ["1"]),
        (Literal["min", "max"], ["min"], ["mean"]),
        (Sequence[float], [[1, 2.5], (1,), []], ["12", 1, ["1"]]),
        (nn.Module, ["left to the constructor"], []),
    ],
)
def test_plain_values_fit_a_type_as_a_yaml_means_them(hint: object, fitting: list[Any], others: list[Any]) -> None:
    assert all(matches_type(value, hint) for value in fitting)
    assert not any(matches_type(value, hint) for value in others)


def test_a_checkpoint_may_name_our_networks_and_what_the_caller_vouches_for() -> None:
    check_trusted_hparams({"model": CNN_NODE})
    check_trusted_hparams({"model": {"_target_": "mine.nets.Tiny"}}, ["mine.nets."])
    for name in ("os.system", "cnn_classifier.train.train", "cnn_classifier_models.Net", "mine.nets.Tiny"):
        with pytest.raises(
            CheckpointError, match=rf"^the checkpoint names {name}, which is not part of cnn_classifier"
        ):
            check_trusted_hparams({"model": {"_target_": name}})


def test_nested_nodes_are_created_first() -> None:
    node = {
        "_target_": "torchvision.transforms.v2.RandomApply",
        "transforms": [{"_target_": "torchvision.transforms.v2.GaussianBlur", "kernel_size": 3}],
        "p": 0.5,
    }
    assert type(instantiate(node, nn.Module).transforms[0]).__name__ == "GaussianBlur"


def test_nested_schedules_receive_the_optimizer() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    node = {
        "_target_": "torch.optim.lr_scheduler.SequentialLR",
        "schedulers": [
            {"_target_": "torch.optim.lr_scheduler.ConstantLR", "factor": 0.1, "total_iters": 2},
            {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.5},
        ],
        "milestones": [2],
    }
    scheduler = instantiate(node, torch.optim.lr_scheduler.LRScheduler, optimizer=optimizer)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0.1, 0.1, 1.0, 0.5])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "torch.nn.Flatten", "_partial_": True}, "_partial_ is not supported"),
        ({"_target_": "torch.nn.Flatten", "_args_": [1]}, "_args_ is not supported"),
        (
            {"_target_": "torch.nn.Sequential", "x": {"_target_": "subprocess.Popen", "args": "true"}},
            "subprocess.Popen",
        ),
        ({"_target_": "torchvision.models.list_models"}, "not allowed here|returns a list"),
    ],
)
def test_unsupported_or_foreign_node_is_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        instantiate(node, nn.Module)


@pytest.mark.parametrize(
    "model",
    [
        {"_target_": "evil.module.Net"},
        {"_target_": "torch.nn.Sequential", "x": {"_target_": "cnn_classifier.models.cnn.CNN"}},
        {"_target_": "cnn_classifier.models.cnn.CNN", "x": [{"_target_": "evil.module.Net"}]},
        {"_target_": "torchvision.models.get_model"},
        {"_target_": "torchvision.models.resnet.load_state_dict_from_url"},
        {"_target_": "timm.models.load_checkpoint"},
    ],
)
def test_every_target_of_a_checkpoint_is_checked(model: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="which is not part of cnn_classifier"):
        check_trusted_hparams({"model": model})


def test_builders_named_by_a_checkpoint_load_no_other_file() -> None:
    timm = {"_target_": "timm.create_model", "model_name": "resnet18", "pretrained": True, "checkpoint_path": "x"}
    assert without_pretrained_weights(timm) == {"_target_": "timm.create_model", "model_name": "resnet18"}
    resnet = {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"}
    assert without_pretrained_weights(resnet) == {"_target_": "torchvision.models.resnet18"}
    with pytest.raises(CheckpointError, match="timm downloads"):
        without_pretrained_weights(timm | {"model_name": "hf-hub:someone/net"})
