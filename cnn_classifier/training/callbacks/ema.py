"""Average the weights over the last steps: what is validated and kept is calmer than the weights of any one step."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from cnn_classifier.errors import ConfigError


class WeightEMA(WeightAveraging):
    """An exponential moving average of the weights, and of the norms' statistics with them.

    Lightning's callback validates, saves and, in the end, leaves the average; the weights themselves are in the
    checkpoint, too, so that a resumed run goes on from them.

    Args:
        decay: The share of the average that a step leaves as it was. The first steps count for more (as in
            TensorFlow's `ExponentialMovingAverage`), so that a short run is not held back by its beginning.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"callbacks.ema.decay={decay} is out of range; expected from 0 up to 1")
        super().__init__(multi_avg_fn=self.update)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # where the weights will be; they are moved after this
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            trainer.precision_plugin.convert_module(self._average_model)  # as the weights are, after this
            # Asked in every step, which on the device would wait for it.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def update(self, averaged_params: list[Tensor], current_params: list[Tensor], num_averaged: Tensor | int) -> None:
        """Move averages towards weights, after `count` steps."""
        if not averaged_params[0].is_floating_point():  # how many batches a norm has seen
            torch._foreach_copy_(averaged_params, current_params)
            return
        decay = min(self.decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        torch._foreach_lerp_(averaged_params, current_params, 1 - decay)
