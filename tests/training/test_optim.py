"""Parameter groups of optimizers, and schedulers with warm-up."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from cnn_classifier.errors import ConfigError
from cnn_classifier.training.optim import build_optimizer, build_schedulers

ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 0.01}
SCHEDULERS = "torch.optim.lr_scheduler."
COSINE = {"_target_": SCHEDULERS + "CosineAnnealingLR", "T_max": 8, "warmup_epochs": 0.0}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def learning_rates(scheduler_config: dict[str, Any], *, epochs: int = 4, steps_per_epoch: int = 10) -> list[float]:
    """Return the learning rate of each step for a base learning rate of 1, stepped as Lightning does."""
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
    entries = build_schedulers(
        scheduler_config, optimizer, steps_per_epoch=steps_per_epoch, total_steps=epochs * steps_per_epoch
    )
    values = []
    for step in range(1, epochs * steps_per_epoch + 1):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for entry in entries:
            if entry["interval"] == "step" or step % steps_per_epoch == 0:
                entry["scheduler"].step()
    return values


def decay_by_name(optimizer: Optimizer, net: nn.Module) -> dict[str, float]:
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


def test_weight_decay_applies_to_weights_only() -> None:
    net = network()
    decays = dict.fromkeys(["0.weight", "3.weight"], 0.01)
    no_decays = dict.fromkeys(["0.bias", "1.weight", "1.bias", "3.bias"], 0.0)
    assert decay_by_name(build_optimizer(ADAMW, net), net) == decays | no_decays


def test_frozen_parameters_are_not_optimized() -> None:
    net = network().requires_grad_(False)
    net[3].weight.requires_grad_(True)
    assert decay_by_name(build_optimizer(ADAMW, net), net) == {"3.weight": 0.01}


def test_invalid_optimizer_config_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"torch\.nn\.Linear is not allowed here; expected a subclass of Optimizer$"):
        build_optimizer({"_target_": "torch.nn.Linear"}, network())
    with pytest.raises(ConfigError, match=r"AdamW has no 'wieght_decay'; did you mean 'weight_decay'\?$"):
        build_optimizer(ADAMW | {"wieght_decay": 0.1}, network())
    with pytest.raises(ConfigError, match=r"^torch\.optim\.AdamW refuses its values: Invalid learning rate: -1$"):
        build_optimizer(ADAMW | {"lr": -1}, network())


def test_warmup_is_linear() -> None:
    constant = {"_target_": SCHEDULERS + "ConstantLR", "factor": 1.0, "warmup_epochs": 0.5}
    assert learning_rates(constant, epochs=1) == pytest.approx([0.2, 0.36, 0.52, 0.68, 0.84, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    "scheduler_config",
    [
        COSINE,
        {"_target_": SCHEDULERS + "StepLR", "step_size": 1},
        {"_target_": SCHEDULERS + "ExponentialLR", "gamma": 0.9},
    ],
)
def test_learning_rate_after_warmup_equals_that_without_warmup(scheduler_config: dict[str, Any]) -> None:
    warmed, plain = (
        learning_rates(scheduler_config | {"warmup_epochs": 2.0}),
        learning_rates(scheduler_config | {"warmup_epochs": 0.0}),
    )
    assert warmed[0] == pytest.approx(plain[0] / 20)
    assert all(cold < full for cold, full in zip(warmed[:20], plain[:20], strict=True))
    assert warmed[20:] == pytest.approx(plain[20:])


def test_zero_warmup_epochs_adds_no_scheduler() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
    assert [entry["interval"] for entry in build_schedulers(COSINE, optimizer, steps_per_epoch=10, total_steps=40)] == [
        "epoch"
    ]


def test_plateau_scheduler_has_its_monitor() -> None:
    plateau = {"_target_": SCHEDULERS + "ReduceLROnPlateau", "patience": 3, "monitor": "val/loss", "warmup_epochs": 1.0}
    entries = build_schedulers(
        plateau, torch.optim.SGD(network().parameters(), lr=1.0), steps_per_epoch=10, total_steps=40
    )
    assert [(entry["interval"], entry.get("monitor")) for entry in entries] == [("epoch", "val/loss"), ("step", None)]
    assert entries[0]["scheduler"].patience == 3


def test_cosine_schedule_refuses_to_resume_with_another_number_of_epochs() -> None:
    cosine = {"_target_": "cnn_classifier.training.optim.CosineDecayLR", "T_max": None, "warmup_epochs": 0.0}

    def build(total_steps: int) -> Any:
        optimizer = torch.optim.SGD(network().parameters(), lr=1.0)
        return build_schedulers(cosine, optimizer, steps_per_epoch=10, total_steps=total_steps)[0]["scheduler"]

    build(40).load_state_dict(build(35).state_dict())
    with pytest.raises(ConfigError, match="scheduler=cosine ends at epoch 4 in the run to resume, not at 5"):
        build(50).load_state_dict(build(40).state_dict())
