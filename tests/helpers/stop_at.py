"""A callback that sends a signal to this process or its parent at a given step or validation."""

import os
import signal
from typing import Any

from lightning.pytorch import Callback, Trainer


class StopAt(Callback):
    """A `Callback` that sends a signal once.

    Args:
        step: The index of the training step over all epochs, or of the validation, counted from 0.
        moment: When the signal is sent: `train`, at the start of the training step, or `val`, in the validation.
        number: The number of the signal.
        times: The number of signals to send.
        parent: Whether the signal is sent to the parent process.
    """

    def __init__(
        self, *, step: int, moment: str = "train", number: int = signal.SIGTERM, times: int = 1, parent: bool = False
    ) -> None:
        self.step, self.moment, self.number, self.times, self.parent = step, moment, number, times, parent
        self.num_validations = 0

    def send(self) -> None:
        for _ in range(self.times):
            os.kill(os.getppid() if self.parent else os.getpid(), self.number)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.moment == "train" and trainer.fit_loop.epoch_loop.total_batch_idx == self.step:
            self.send()

    def on_validation_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.moment == "val" and not trainer.sanity_checking:
            self.num_validations += 1
            if self.num_validations == self.step + 1:
                self.send()
