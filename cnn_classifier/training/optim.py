"""Optimizers and learning-rate schedulers, built from plain config nodes."""

import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lightning.pytorch.plugins.precision import Precision
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau

from cnn_classifier.config.instantiate import instantiate
from cnn_classifier.config.metrics import resolve_mode
from cnn_classifier.config.trainer import PLANNED_LENGTHS
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.finetuning import FineTunable

DEFAULT_OPTIMIZER = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 0.05}
DEFAULT_SCHEDULER = {"_target_": "cnn_classifier.training.optim.CosineOneCycleLR", "total_steps": None}


def build_optimizer(optimizer_config: Mapping[str, Any], network: nn.Module) -> Optimizer:
    """Build an optimizer that applies weight decay to weights, but not to biases and norm parameters.

    Weights are parameters with at least two dimensions: kernels and matrices. Decay of norm parameters and biases does
    not regularize (arXiv:1706.05350). A `FineTunable` network also sets learning-rate multipliers for its blocks.

    Args:
        optimizer_config: `_target_` and arguments of the optimizer.
        network: The network; frozen parameters are left out.

    Raises:
        ConfigError: If the target is not an optimizer, or its arguments are invalid.
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
    """A one-cycle schedule with cosine warm-up to the learning rate, then cosine decay to 0 (arXiv:1708.07120).

    torch's `OneCycleLR` sets one learning rate; this schedule keeps the ratios between parameter groups.

    Args:
        optimizer: The optimizer, whose learning rates are the maximum.
        total_steps: The number of optimizer steps of the run.
        pct_start: The fraction of the steps that are warm-up, in [0, 1).

    Raises:
        ValueError: If `pct_start` is out of range.
    """

    def __init__(self, optimizer: Optimizer, *, total_steps: int, pct_start: float = 0.2) -> None:
        if not 0 <= pct_start < 1:
            raise ValueError(f"pct_start={pct_start} is out of range: expected 0 <= pct_start < 1")
        self.pct_start = pct_start
        super().__init__(optimizer, self.make_factor(total_steps))

    def make_factor(self, total_steps: int) -> Callable[[int], float]:
        """Return the function from a step to the factor of the learning rate."""
        return partial(one_cycle_factor, peak_step=self.pct_start * total_steps, total_steps=total_steps)

    def set_length(self, total_steps: int) -> None:
        """Change the number of optimizer steps of the run, of which some are done."""
        self.lr_lambdas = [self.make_factor(total_steps) for _ in self.lr_lambdas]


def one_cycle_factor(step: int, *, peak_step: float, total_steps: int) -> float:
    """Return the factor of the learning rate at a step; a function of the module, so that spawned processes get it."""
    progress = (step + 1) / (peak_step + 1) if step < peak_step else 1 - (step - peak_step) / (total_steps - peak_step)
    return (1 - math.cos(math.pi * max(progress, 0))) / 2


class CosineDecayLR(CosineAnnealingLR):
    """Torch's `CosineAnnealingLR`, which refuses to resume with another number of epochs.

    The checkpoint of a finished run has a learning rate of 0, from which torch's recursive formula never rises.

    Args:
        optimizer: The optimizer, whose learning rates are the maximum.
        T_max: The number of epochs of the run.
        eta_min: The learning rate at the end.
    """

    def __init__(self, optimizer: Optimizer, *, T_max: int, eta_min: float = 0.0) -> None:  # noqa: N803
        super().__init__(optimizer, T_max, eta_min)

    def set_length(self, total_epochs: int) -> None:
        """Change the number of epochs of the run, of which some are done."""
        self.T_max = total_epochs

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state of a checkpoint.

        Raises:
            ConfigError: If the earlier run had another number of epochs.
        """
        if state_dict["T_max"] != self.T_max:
            raise ConfigError(
                f"scheduler=cosine ends at epoch {state_dict['T_max']} in the run to resume, not at {self.T_max}; "
                "resume with the same trainer.max_epochs, or start a new run"
            )
        super().load_state_dict(state_dict)


def build_schedulers(
    scheduler_config: Mapping[str, Any], optimizer: Optimizer, *, steps_per_epoch: int, total_steps: float
) -> list[dict[str, Any]]:
    """Build Lightning's scheduler configs: the scheduler and its warm-up.

    A scheduler with `total_steps` is stepped after every optimizer step, others after every epoch. The warm-up
    multiplies the current learning rate, so that it works with schedulers that do the same: cosine, step, exponential,
    constant and plateau. Schedulers that set the learning rate (LambdaLR, warm restarts) require `warmup_epochs=0`.

    Args:
        scheduler_config: `_target_` and arguments of the scheduler, `warmup_epochs`, and `monitor` for a scheduler that
            depends on a metric; its `mode` follows from the metric.
        optimizer: The optimizer.
        steps_per_epoch: The number of optimizer steps per epoch.
        total_steps: The number of optimizer steps of the run, infinite without a limit. It replaces `total_steps:
            null`, and the number of epochs replaces `T_max: null`.

    Raises:
        ConfigError: If the target is not a scheduler, its arguments are invalid, or the run has no planned end.
    """
    scheduler_config = resolve_mode(scheduler_config, "scheduler")
    arguments = {key: value for key, value in scheduler_config.items() if key not in ("warmup_epochs", "monitor")}
    is_per_step = "total_steps" in arguments
    if planned := [key for key in PLANNED_LENGTHS if arguments.get(key, 0) is None]:
        if math.isinf(total_steps):
            raise ConfigError(
                f"scheduler.{planned[0]}=null requires trainer.max_epochs or trainer.max_steps; set one of them, or "
                "use scheduler=constant"
            )
        lengths = {"total_steps": int(total_steps), "T_max": math.ceil(total_steps / steps_per_epoch)}
        arguments |= {key: lengths[key] for key in planned}
    scheduler = instantiate(arguments, LRScheduler, optimizer=optimizer)
    interval = "step" if is_per_step else "epoch"
    # Lightning steps metric-based schedulers after the checkpoint of an epoch; `PlateauStep` does it before.
    frequency = {"frequency": sys.maxsize} if isinstance(scheduler, ReduceLROnPlateau) else {}
    scheduler_configs = [
        {"scheduler": scheduler, "interval": interval, "monitor": scheduler_config.get("monitor"), **frequency}
    ]
    warmup_steps = round(scheduler_config.get("warmup_epochs", 0) * steps_per_epoch)
    if warmup_steps > 1:
        warmup = LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps)
        scheduler_configs.append({"scheduler": warmup, "interval": "step"})
    return scheduler_configs


def clip_gradients(precision: Precision, optimizer: Optimizer, value: float | None, algorithm: str | None) -> None:
    """Clip gradients of fused optimizers too, which Lightning refuses in mixed precision.

    Lightning refuses because a fused optimizer unscales float16 gradients inside its step, after the clipping.
    Unscaling first is always valid, since the scaler remembers it. bfloat16 has no scaler.

    Args:
        precision: The precision plugin of the `Trainer`.
        optimizer: The optimizer whose gradients are clipped.
        value: The maximum norm or absolute value; None or 0 disables clipping.
        algorithm: "norm" or "value"; None means "norm".
    """
    if not value:
        return
    scaler = getattr(precision, "scaler", None)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        scaler.unscale_(optimizer)
    clip = precision.clip_grad_by_value if algorithm == "value" else precision.clip_grad_by_norm
    clip(optimizer, value)
