"""Optimisers and learning-rate schedules from plain data."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from cnn_classifier.build import build


def build_optimizer(recipe: Mapping[str, Any], network: nn.Module) -> Optimizer:
    """The optimiser named by the recipe; weight decay falls on weights, not on biases and norm parameters.

    Weights are what has two dimensions or more: kernels and matrices. Shrinking the scale of a norm or a bias
    regularises nothing (arXiv:1706.05350).
    """
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for parameter in trainable if parameter.ndim >= 2]},
        {"params": [parameter for parameter in trainable if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return build(recipe, Optimizer, params=[group for group in groups if group["params"]])


def build_schedulers(recipe: Mapping[str, Any], optimizer: Optimizer, *, steps_per_epoch: int) -> list[dict[str, Any]]:
    """Lightning's scheduler entries: the recipe's own, after every epoch, and its warm-up, after every step.

    The warm-up multiplies the current rate, so it goes with every schedule that does the same: cosine, step,
    exponential, constant, plateau. Schedules that set the rate anew (LambdaLR, warm restarts) want `warmup_epochs=0`.

    Args:
        recipe: `_target_`, its arguments, `warmup_epochs`, and `monitor` for schedules that look at a metric.
        optimizer: What is scheduled.
        steps_per_epoch: Optimiser steps an epoch.
    """
    arguments = {key: value for key, value in recipe.items() if key not in ("warmup_epochs", "monitor")}
    scheduler = build(arguments, LRScheduler, optimizer=optimizer)
    entries = [{"scheduler": scheduler, "interval": "epoch", "monitor": recipe.get("monitor")}]
    warmup_steps = round(recipe["warmup_epochs"] * steps_per_epoch)
    if warmup_steps > 1:
        warmup = LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps)
        entries.append({"scheduler": warmup, "interval": "step"})
    return entries
