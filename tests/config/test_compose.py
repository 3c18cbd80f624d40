"""`load_config` accepts the overrides of the command and composes the same config."""

import re
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig

from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.errors import ConfigError


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    """A user's config directory with a model and an experiment that interpolates values of Hydra."""
    folder = tmp_path / "it's mine"
    (folder / "model").mkdir(parents=True)
    (folder / "experiment").mkdir()
    (folder / "model" / "net.yaml").write_text("_target_: cnn_classifier.models.resnet.ResNet\nwidths: [8, 16]\n")
    (folder / "experiment" / "mine.yaml").write_text(
        "# @package _global_\nnote: ${hydra:job.name} in ${hydra:runtime.output_dir}\nyears: ['${now:%Y}']\nseed: 7\n"
    )
    return folder


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("run_dir=here", "run_dir", "here"),
        ("run_dir=outputs/${hydra:runtime.choices.model}", "run_dir", "outputs/resnet"),
        ("run_dir=here", "callbacks.best.dirpath", "here/checkpoints"),
        ("hydra.run.dir=here", "run_dir", "here"),
        ("resume=auto", "resume", "auto"),
        ("hydra.sweep.dir=there", "seed", 1),
        ("sweep.resume=outputs/sweeps/one", "sweep.resume", "outputs/sweeps/one"),
        ("hydra/launcher=pool", "seed", 1),
        ("search=quick", "budget", "2m"),
        ("sweep.name=${hydra:job.name}", "sweep.name", "train"),
        ("dataset.source=[a,'${hydra:job.name}']", "dataset.source", ["a", "train"]),
    ],
)
def test_load_config_override_of_command_is_accepted(override: str, key: str, expected: Any) -> None:
    node = to_container(load_config([override]))
    for part in key.split("."):
        node = node[part]
    assert node == expected


def test_load_config_default_run_dir_has_dataset_model_and_time() -> None:
    config = load_config(["dataset=cats_dogs", "model=cnn"])
    assert re.fullmatch(r"outputs/cats_dogs/cnn/\d{4}(-\d\d){2}_\d\d-\d\d-\d\d-\d{6}", config.run_dir)
    assert config.trainer.default_root_dir == config.run_dir
    assert load_config().run_dir != config.run_dir


def test_load_config_run_dir_argument_overrides_run_dir() -> None:
    assert load_config(["run_dir=first"], run_dir="it's here").run_dir == "it's here"


@pytest.mark.parametrize("as_override", [False, True])
def test_load_config_user_groups_are_found(config_dir: Path, as_override: bool) -> None:
    overrides = ["model=net", "experiment=mine", "seed=8", "run_dir=here"]
    if as_override:
        url = f"file://{config_dir}".replace("'", "\\'")
        config = load_config([f"hydra.searchpath=['{url}']", *overrides])
    else:
        config = load_config(overrides, config_dir=config_dir)
    assert list(config.model.widths) == [8, 16]
    assert config.note == f"train in {Path('here').absolute()}"
    assert config.years[0].isdigit()
    assert config.seed == 8


def test_load_config_in_user_group_unknown_key_suggests_key(config_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.width is not in the configuration; did you mean 'widths'"):
        load_config(["model=net", "model.width=3"], config_dir=config_dir)


def test_train_with_user_group_unknown_key_is_one_line(config_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config-dir", str(config_dir), "model=net", "model.width=3"]) == 2
    assert "model.width is not in the configuration; did you mean 'widths'" in capsys.readouterr().err


def test_lr_find_config_dir_adds_groups(config_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lr-find", "--config-dir", str(config_dir), "model=nett"]) == 2
    assert "model=nett does not exist; expected one of: auto, baseline, cnn, net, pretrained" in capsys.readouterr().err


def test_load_config_unreadable_user_yaml_raises_config_error(config_dir: Path) -> None:
    (config_dir / "model" / "net.yaml").write_text("widths: [")
    with pytest.raises(ConfigError, match=r"net\.yaml"):
        load_config(["model=net"], config_dir=config_dir)


def test_load_config_leaves_no_hydra_state_behind() -> None:
    before = HydraConfig.instance().cfg  # an earlier command in this process leaves its own
    load_config()
    assert HydraConfig.instance().cfg is before


def test_load_config_several_values_names_multirun() -> None:
    with pytest.raises(ConfigError, match=r"seed=1,2 has several values; add -m to run each of them"):
        load_config(["seed=1,2"])


@pytest.mark.parametrize(
    ("overrides", "group", "expected"),
    [
        (["model._target_=torchvision.models.resnet18"], "model", {"_target_": "torchvision.models.resnet18"}),
        (
            ["model._target_=torchvision.models.resnet18", "+model.zero_init_residual=true"],
            "model",
            {"_target_": "torchvision.models.resnet18", "zero_init_residual": True},
        ),
        (
            ["optimizer=muon", "optimizer._target_=torch.optim.RMSprop", "optimizer.lr=0.5"],
            "optimizer",
            {"_target_": "torch.optim.RMSprop", "lr": 0.5, "momentum": 0.6, "weight_decay": 0.05},
        ),
        (
            ["scheduler._target_=torch.optim.lr_scheduler.ExponentialLR", "+scheduler.gamma=0.9"],
            "scheduler",
            {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9},
        ),
    ],
)
def test_overridden_target_drops_the_values_of_the_replaced_class(
    overrides: list[str], group: str, expected: dict[str, Any]
) -> None:
    assert to_container(load_config(["dataset=folder", "dataset.root=photos", *overrides])[group]) == expected


def test_given_value_that_an_overridden_target_does_not_accept_raises_config_error() -> None:
    overrides = ["dataset=folder", "dataset.root=x", "model=resnet"]
    overrides += ["optimizer._target_=torch.optim.SGD", "optimizer.adamw_lr=3"]
    with pytest.raises(ConfigError, match=r"optimizer \(torch.optim.SGD\) has no 'adamw_lr'"):
        load_config(overrides)


def test_overridden_target_that_does_not_exist_raises_config_error() -> None:
    with pytest.raises(ConfigError, match=r"torch\.optim\.Nothing cannot be imported"):
        load_config(["optimizer._target_=torch.optim.Nothing"])
