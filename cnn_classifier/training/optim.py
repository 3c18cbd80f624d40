"""Optimisers and learning-rate schedules from plain data."""

import math
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau

from cnn_classifier.config.instantiate import instantiate
from cnn_classifier.models.finetuning import FineTunable


def build_optimizer(optimizer_config: Mapping[str, Any], network: nn.Module) -> Optimizer:
    """The optimiser named by the recipe; weight decay falls on weights, not on biases and norm parameters.

    Weights are what has two dimensions or more: kernels and matrices. Shrinking the scale of a norm or a bias
    regularises nothing (arXiv:1706.05350). A network with `rates()` has parts that learn more slowly than others.
    """
    lr_groups = network.lr_multipliers() if isinstance(network, FineTunable) else [(list(network.parameters()), 1.0)]
    param_groups: list[dict[str, Any]] = []
    for parameters, lr_multiplier in lr_groups:
        lr_override = {} if lr_multiplier == 1 else {"lr": optimizer_config["lr"] * lr_multiplier}
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        param_groups += [
            {"params": [parameter for parameter in trainable if parameter.ndim >= 2], **lr_override},
            {
                "params": [parameter for parameter in trainable if parameter.ndim < 2],
                "weight_decay": 0.0,
                **lr_override,
            },
        ]
    return instantiate(optimizer_config, Optimizer, params=[group for group in param_groups if group["params"]])


class CosineOneCycleLR(LambdaLR):
    """Within a run, up to the optimiser's rate and down to nothing, each way half a cosine (arXiv:1708.07120).

    torch's own `OneCycleLR` sets one rate; this one keeps those of parameter groups in proportion.

    Args:
        optimizer: Its rates are the highest.
        total_steps: Of the run.
        warmup: Share of the steps that the way up takes.
    """

    def __init__(self, optimizer: Optimizer, *, total_steps: int, pct_start: float = 0.2) -> None:
        if not 0 <= pct_start < 1:
            raise ValueError(f"`warmup`={pct_start} is out of range; expected a share from 0 up to 1")
        peak_step = pct_start * total_steps

        def lr_lambda(step: int) -> float:
            progress = (
                (step + 1) / (peak_step + 1) if step < peak_step else 1 - (step - peak_step) / (total_steps - peak_step)
            )
            return (1 - math.cos(math.pi * max(progress, 0))) / 2

        super().__init__(optimizer, lr_lambda)


def build_schedulers(
    scheduler_config: Mapping[str, Any], optimizer: Optimizer, *, steps_per_epoch: int, total_steps: int
) -> list[dict[str, Any]]:
    """Lightning's scheduler entries: the recipe's own and its warm-up.

    A recipe with `total_steps` is scheduled after every step, others after every epoch. The warm-up multiplies the
    current rate, so it goes with every schedule that does the same: cosine, step, exponential, constant, plateau.
    Schedules that set the rate anew (LambdaLR, warm restarts) want `warmup_epochs=0`.

    Args:
        recipe: `_target_`, its arguments, `warmup_epochs`, and `monitor` for schedules that look at a metric.
        optimizer: What is scheduled.
        steps_per_epoch: Optimiser steps an epoch.
        total_steps: Of the run; what a recipe with `total_steps: null` is given.
    """
    arguments = {key: value for key, value in scheduler_config.items() if key not in ("warmup_epochs", "monitor")}
    is_per_step = "total_steps" in arguments
    if is_per_step and arguments["total_steps"] is None:
        arguments["total_steps"] = total_steps
    scheduler = instantiate(arguments, LRScheduler, optimizer=optimizer)
    interval = "step" if is_per_step else "epoch"
    # Lightning schedules by a metric after an epoch's checkpoint; the module does so before, see there.
    frequency = {"frequency": sys.maxsize} if isinstance(scheduler, ReduceLROnPlateau) else {}
    scheduler_configs = [
        {"scheduler": scheduler, "interval": interval, "monitor": scheduler_config.get("monitor"), **frequency}
    ]
    warmup_steps = round(scheduler_config.get("warmup_epochs", 0) * steps_per_epoch)
    if warmup_steps > 1:
        warmup = LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps)
        scheduler_configs.append({"scheduler": warmup, "interval": "step"})
    return scheduler_configs
