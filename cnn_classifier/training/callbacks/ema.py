"""Exponential moving average of the weights, used for validation and checkpoints."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from cnn_classifier.errors import ConfigError
from cnn_classifier.lightning_internals import get_average_model, set_average_device


class WeightEMA(WeightAveraging):
    """A `WeightAveraging` callback with an exponential moving average of the weights and of the batch-norm statistics.

    Lightning validates and saves the average, and copies it to the module after training. The checkpoint also contains
    the weights themselves, from which a resumed run continues.

    Args:
        decay: The EMA decay in [0, 1). It is warmed up as `min(decay, (1 + step) / (10 + step))`, as in TensorFlow's
            `ExponentialMovingAverage`, so that the initial weights have little effect on short runs.

    Raises:
        ConfigError: If `decay` is out of range.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"callbacks.ema.decay={decay} is out of range: expected 0 <= decay < 1")
        super().__init__(multi_avg_fn=self.update)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        set_average_device(self, trainer.strategy.root_device)  # Lightning moves the module there after `setup`
        super().setup(trainer, pl_module, stage)
        average_model = get_average_model(self)
        if average_model is not None:
            trainer.precision_plugin.convert_module(average_model)  # as Lightning converts the module after `setup`
            # Read in every step, which would synchronize with the device.
            average_model.n_averaged = average_model.n_averaged.cpu()

    def update(self, averaged_params: list[Tensor], current_params: list[Tensor], num_averaged: Tensor | int) -> None:
        """Update the averages in place.

        Args:
            averaged_params: The averages, all of one dtype and device.
            current_params: The weights of the current step.
            num_averaged: The number of updates so far.
        """
        if not averaged_params[0].is_floating_point():  # the batch counters of batch norms
            torch._foreach_copy_(averaged_params, current_params)
            return
        decay = min(self.decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        torch._foreach_lerp_(averaged_params, current_params, 1 - decay)
