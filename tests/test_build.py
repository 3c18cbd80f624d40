"""Plain data becomes the object it names, or an error that says which word is wrong; nothing else is ever called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from torch import nn
from torch.optim import Optimizer

from cnn_classifier.build import build, build_all, matches, require_trusted
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.cnn import CNN

CNN_NODE = {"_target_": "cnn_classifier.models.cnn.CNN", "widths": [4], "dense": 4}
WIRED = {"num_classes": 2, "channels": 3, "image_size": 8}


def test_a_node_becomes_the_class_it_names() -> None:
    network = build(CNN_NODE, nn.Module, **WIRED)
    assert isinstance(network, CNN)
    assert network.head[-1].out_features == 2


def test_values_from_the_code_win_over_the_nodes() -> None:
    assert (
        build(
            {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 3}, nn.Module, out_features=5
        ).out_features
        == 5
    )


def test_a_node_is_left_as_it_was() -> None:
    node = dict(CNN_NODE)
    build(node, nn.Module, **WIRED)
    assert node == CNN_NODE


def test_torchvisions_builders_are_called_though_they_are_functions() -> None:
    assert isinstance(build({"_target_": "torchvision.models.squeezenet1_1"}, nn.Module, num_classes=2), nn.Module)


def test_a_group_is_built_without_what_is_set_to_null() -> None:
    nodes = {"relu": {"_target_": "torch.nn.ReLU"}, "flip": None, "flat": {"_target_": "torch.nn.Flatten"}}
    assert [type(built) for built in build_all(nodes, nn.Module)] == [nn.ReLU, nn.Flatten]


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("os.system", {"command": "touch {sentinel}"}),
        ("subprocess.Popen", {"args": ["touch", "{sentinel}"]}),
        ("pathlib.Path.touch", {"self": "{sentinel}"}),
        ("builtins.open", {"file": "{sentinel}", "mode": "w"}),
        ("torch.optim.SGD", {"lr": 0.1}),
        ("torch.nn.functional.relu", {}),
        ("cnn_classifier.models.cnn.nn", {}),
    ],
)
def test_what_is_not_of_the_expected_kind_is_never_called(
    tmp_path: Path, target: str, arguments: dict[str, Any]
) -> None:
    sentinel = str(tmp_path / "sentinel")
    filled = {
        key: [word.format(sentinel=sentinel) for word in value] if isinstance(value, list) else value
        for key, value in arguments.items()
    }
    filled |= {key: value.format(sentinel=sentinel) for key, value in arguments.items() if isinstance(value, str)}
    with pytest.raises(ConfigError) as raised:
        build({"_target_": target, **filled}, nn.Module)
    assert not Path(sentinel).exists()
    assert target in str(raised.value)


def test_the_wrong_kind_is_told_with_the_kind_expected() -> None:
    with pytest.raises(
        ConfigError, match=r"^_target_: torch\.nn\.ReLU is not allowed here; expected a subclass of Optimizer$"
    ):
        build({"_target_": "torch.nn.ReLU"}, Optimizer)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"drop_out": 0.1}, "cnn_classifier.models.cnn.CNN has no 'drop_out'; did you mean 'dropout'?"),
        (
            {"zzz": 1},
            "cnn_classifier.models.cnn.CNN has no 'zzz'; expected one of: channels, dense, dense_dropout, dropout",
        ),
        ({"dense": "many"}, "cnn_classifier.models.cnn.CNN: dense='many' is of the wrong type; expected int"),
        ({"dense": 4.5}, "cnn_classifier.models.cnn.CNN: dense=4.5 is of the wrong type; expected int"),
        ({"dropout": "high"}, "cnn_classifier.models.cnn.CNN: dropout='high' is of the wrong type; expected float"),
        ({"widths": 32}, "cnn_classifier.models.cnn.CNN: widths=32 is of the wrong type; expected a list of int"),
        (
            {"widths": [32, "64"]},
            "cnn_classifier.models.cnn.CNN: widths=[32, '64'] is of the wrong type; expected a list of int",
        ),
        ({"dropout": 2.0}, "model.dropout=2.0 is out of range"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_what_was_expected(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(CNN_NODE | values, nn.Module, **WIRED)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("name", ["cnn_classifier.models.cnn.CNM", "cnn_classifier.modles.CNN", "CNN", "", "torch.nn."])
def test_a_name_that_leads_nowhere_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=r"^_target_: .* cannot be imported \(.*\); expected package\.module\.Class$"):
        build({"_target_": name}, nn.Module)


def test_the_constructors_own_refusal_comes_through() -> None:
    affine = "cnn_classifier.data.augment.RandomAffine"
    with pytest.raises(ConfigError, match=r"^cnn_classifier.* refuses its values: `zoom`=\[2, 1\] is out of range"):
        build({"_target_": affine, "zoom": [2, 1]}, nn.Module)
    with pytest.raises(ConfigError, match=r"^torch\.nn\.Linear refuses its values: .*missing .* 'out_features'"):
        build({"_target_": "torch.nn.Linear", "in_features": 2}, nn.Module)


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (1, float, True),
        (True, float, False),
        (True, int, False),
        (1.0, int, False),
        (None, int | None, True),
        ("a", int | None, False),
        ("min", Literal["min", "max"], True),
        ("mean", Literal["min", "max"], False),
        ([1, 2], Sequence[float], True),
        ("12", Sequence[str], False),
        ("anything", nn.Module, True),
    ],
)
def test_plain_values_fit_a_type_as_a_yaml_means_them(value: object, hint: object, fits: bool) -> None:
    assert matches(value, hint) is fits


@pytest.mark.parametrize(
    "name", ["os.system", "cnn_classifier.train.train", "cnn_classifier_models.Net", "torch.nn.Linear"]
)
def test_a_checkpoint_may_not_name_what_is_not_ours(name: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        require_trusted({"_target_": name})
    assert str(raised.value).startswith(
        f"the checkpoint names {name}, which is not part of cnn_classifier; if you trust it"
    )


def test_a_checkpoint_may_name_our_networks_and_what_the_caller_vouches_for() -> None:
    require_trusted(CNN_NODE)
    require_trusted({"_target_": "torchvision.models.resnet18"})
    require_trusted({"_target_": "mine.nets.Tiny"}, ["mine.nets."])
