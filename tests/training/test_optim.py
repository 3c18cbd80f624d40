"""Weight decay falls on weights alone, and a warm-up climbs to whatever the schedule asks for."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from cnn_classifier.errors import ConfigError
from cnn_classifier.training.optim import build_optimizer, build_schedulers

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 0.01}
SCHEDULES = "torch.optim.lr_scheduler."
COSINE = {"_target_": SCHEDULES + "CosineAnnealingLR", "T_max": 8, "warmup_epochs": 0.0}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def rates(recipe: dict[str, Any], *, epochs: int = 4, steps_per_epoch: int = 10) -> list[float]:
    """The rate of every step, stepped as Lightning does, for a full rate of 1."""
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
    entries = build_schedulers(recipe, optimizer, steps_per_epoch=steps_per_epoch, total_steps=epochs * steps_per_epoch)
    seen = []
    for step in range(1, epochs * steps_per_epoch + 1):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for entry in entries:
            if entry["interval"] == "step" or step % steps_per_epoch == 0:
                entry["scheduler"].step()
    return seen


def decay_by_name(optimizer: Optimizer, of: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in of.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


def test_weights_decay_and_biases_and_norms_do_not() -> None:
    net = network()
    decays = dict.fromkeys(["0.weight", "3.weight"], 0.01)
    stays = dict.fromkeys(["0.bias", "1.weight", "1.bias", "3.bias"], 0.0)
    assert decay_by_name(build_optimizer(ADAMW, net), net) == decays | stays


def test_frozen_parameters_are_left_out() -> None:
    net = network().requires_grad_(False)
    net[3].weight.requires_grad_(True)
    assert decay_by_name(build_optimizer(ADAMW, net), net) == {"3.weight": 0.01}


def test_an_optimiser_that_is_none_or_has_no_such_value_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"torch\.nn\.Linear is not allowed here; expected a subclass of Optimizer$"):
        build_optimizer({"_target_": "torch.nn.Linear"}, network())
    with pytest.raises(ConfigError, match=r"AdamW has no 'wieght_decay'; did you mean 'weight_decay'\?$"):
        build_optimizer(ADAMW | {"wieght_decay": 0.1}, network())
    with pytest.raises(ConfigError, match=r"^torch\.optim\.AdamW refuses its values: Invalid learning rate: -1$"):
        build_optimizer(ADAMW | {"lr": -1}, network())


def test_a_warm_up_climbs_evenly_to_the_full_rate() -> None:
    constant = {"_target_": SCHEDULES + "ConstantLR", "factor": 1.0, "warmup_epochs": 0.5}
    assert rates(constant, epochs=1) == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    "schedule",
    [
        COSINE,
        {"_target_": SCHEDULES + "StepLR", "step_size": 1},
        {"_target_": SCHEDULES + "ExponentialLR", "gamma": 0.9},
    ],
)
def test_after_its_warm_up_a_schedule_goes_on_as_if_there_had_been_none(schedule: dict[str, Any]) -> None:
    warmed, plain = rates(schedule | {"warmup_epochs": 2.0}), rates(schedule | {"warmup_epochs": 0.0})
    assert warmed[0] == pytest.approx(plain[0] / 20)
    assert all(cold < full for cold, full in zip(warmed[:20], plain[:20], strict=True))
    assert warmed[20:] == pytest.approx(plain[20:])


def test_no_warm_up_adds_no_schedule() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
    assert [entry["interval"] for entry in build_schedulers(COSINE, optimizer, steps_per_epoch=10, total_steps=40)] == [
        "epoch"
    ]


def test_a_plateau_looks_at_its_metric() -> None:
    plateau = {"_target_": SCHEDULES + "ReduceLROnPlateau", "patience": 3, "monitor": "val/loss", "warmup_epochs": 1.0}
    entries = build_schedulers(
        plateau, torch.optim.SGD(network().parameters(), lr=1.0), steps_per_epoch=10, total_steps=40
    )
    assert [(entry["interval"], entry.get("monitor")) for entry in entries] == [("epoch", "val/loss"), ("step", None)]
    assert entries[0]["scheduler"].patience == 3
