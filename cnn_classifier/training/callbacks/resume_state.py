"""Save and restore the training metrics of an unfinished epoch."""

from collections.abc import Iterator
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from cnn_classifier.training.task import StageMetrics

KEY = "partial_epoch_metrics"


class PartialEpochMetrics(Callback):
    """Keep the state of `train_metrics` in checkpoints that are written within an epoch.

    Metrics are not part of the state dict, so that a run resumed within an epoch would report only the rest of it.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not trainer.is_last_batch:
            checkpoint[KEY] = {name: sum_over_ranks(trainer, metric) for name, metric in get_train_metrics(pl_module)}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if not trainer.is_global_zero:  # rank 0 restores the sum over all ranks
            return
        for name, metric in get_train_metrics(pl_module):
            for state, value in checkpoint.get(KEY, {}).get(name, {}).items():
                setattr(metric, state, value.to(metric.device))


def get_train_metrics(pl_module: LightningModule) -> Iterator[tuple[str, Metric]]:
    """Yield the names and metrics of the training stage."""
    return cast(StageMetrics, pl_module.train_metrics).items()


def sum_over_ranks(trainer: Trainer, metric: Metric) -> dict[str, Tensor]:
    """Return the state of a metric, summed over all processes."""
    states = {name: torch.as_tensor(value).clone() for name, value in metric.metric_state.items()}
    return {name: trainer.strategy.reduce(value, reduce_op="sum") for name, value in states.items()}
