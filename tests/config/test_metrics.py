"""Names and directions of monitored metrics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import TINY, MakeFolder
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn

from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config
from cnn_classifier.config.instantiate import instantiate_all
from cnn_classifier.config.metrics import METRICS, get_mode, resolve_mode, resolve_modes
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.optim import build_schedulers

CHECKPOINT = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "val/accuracy"}
PLATEAU = {
    "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
    "monitor": "val/accuracy",
    "mode": None,
    "factor": 0.5,
    "patience": 0,
    "warmup_epochs": 0.0,
}


class CheckpointWithKwargs(ModelCheckpoint):
    """A checkpoint callback that passes its arguments on."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class MonitorWithoutMode(EarlyStopping):
    """A callback with a metric but without a direction."""

    def __init__(self, monitor: str) -> None:
        super().__init__(monitor)


@pytest.mark.parametrize("monitor", METRICS)
def test_get_mode_is_min_for_losses_and_max_for_scores(monitor: str) -> None:
    assert get_mode(monitor) == ("min" if monitor.endswith("loss") else "max")


def test_get_mode_of_an_unknown_metric_suggests_the_closest_name() -> None:
    with pytest.raises(ConfigError, match=r"^monitor=val/acuracy is not logged; did you mean 'val/accuracy'\?$"):
        get_mode("val/acuracy")


@pytest.mark.parametrize(
    ("key", "overrides"),
    [
        ("callbacks.best", ["callbacks.best.monitor=val/accuracy", "callbacks.best.mode=min"]),
        ("callbacks.early_stopping", ["callbacks=early_stopping", "callbacks.early_stopping.mode=max"]),
        ("scheduler", ["scheduler=plateau", "scheduler.mode=max"]),
    ],
)
def test_contradicting_mode_is_a_config_error_before_training(key: str, overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=rf"^{key}\.mode=m.. contradicts {key}\.monitor=val/.*: expected m.."):
        load_config(overrides)


@pytest.mark.parametrize("override", ["scheduler.monitor=val/los", "callbacks.early_stopping.monitor=val/los"])
def test_unknown_monitor_is_a_config_error_before_training(override: str) -> None:
    with pytest.raises(ConfigError, match=r"\.monitor=val/los is not logged; did you mean 'val/loss'\?$"):
        load_config(["scheduler=plateau", "callbacks=early_stopping", override])


@pytest.mark.parametrize("mode", [{}, {"mode": None}, {"mode": "max"}])
def test_resolve_mode_fills_in_the_direction(mode: dict[str, Any]) -> None:
    assert resolve_mode(CHECKPOINT | mode, "callbacks.best") == CHECKPOINT | {"mode": "max"}


def test_resolve_mode_passes_through_kwargs_of_subclasses() -> None:
    node = CHECKPOINT | {"_target_": f"{__name__}.CheckpointWithKwargs"}
    assert resolve_mode(node, "callbacks.mine")["mode"] == "max"


def test_callbacks_without_mode_or_with_their_own_metric_stay_as_they_are() -> None:
    nodes = {
        "disabled": None,
        "no_monitor": {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor"},
        "no_mode": {"_target_": f"{__name__}.MonitorWithoutMode", "monitor": "val/accuracy"},
        "own_metric": CHECKPOINT | {"monitor": "val/my_metric", "mode": "min"},
    }
    assert resolve_modes(nodes, "callbacks") == nodes
    assert len(instantiate_all(resolve_modes(nodes, "callbacks"), object)) == 3


def test_plateau_on_accuracy_reduces_only_when_accuracy_stops_improving() -> None:
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.0)
    [entry] = build_schedulers(PLATEAU, optimizer, steps_per_epoch=1, total_steps=5)
    learning_rates = []
    for accuracy in (0.5, 0.6, 0.7, 0.7, 0.6):
        entry["scheduler"].step(accuracy)
        learning_rates.append(optimizer.param_groups[0]["lr"])
    assert learning_rates == [1.0, 1.0, 1.0, 0.5, 0.25]


def test_best_checkpoint_by_accuracy_is_the_epoch_with_the_highest_accuracy(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = [0.25, 0.75, 0.5]
    root = make_folder({"cats": 12, "dogs": 12})
    log = ImageClassifier.log

    def log_given_accuracy(module: ImageClassifier, name: str, value: Any, **kwargs: Any) -> None:
        log(module, name, accuracies[module.current_epoch] if name == "val/accuracy" else value, **kwargs)

    monkeypatch.setattr(ImageClassifier, "log", log_given_accuracy)
    overrides = ["callbacks.best.monitor=val/accuracy", f"run_dir={tmp_path / 'run'}", "trainer.max_epochs=3"]
    assert main(["train", *TINY, "dataset=folder", f"dataset.root={root}", *overrides]) == 0

    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == accuracies.index(max(accuracies))
