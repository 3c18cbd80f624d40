"""A callback that sends this process, or the one above it, a signal at a certain moment of a training."""

import os
import signal
from typing import Any

from lightning.pytorch import Callback, Trainer


class StopAt(Callback):
    """Args:
    step: Counted from 0 over all epochs.
    moment: `train`, at the beginning of that step, or `val`, at that validation.
    number: Of the signal.
    times: How often it is sent.
    parent: Whether it is sent to the process that started this one.
    """

    def __init__(
        self, *, step: int, moment: str = "train", number: int = signal.SIGTERM, times: int = 1, parent: bool = False
    ) -> None:
        self.step, self.moment, self.number, self.times, self.parent = step, moment, number, times, parent
        self.validations = 0

    def send(self) -> None:
        for _ in range(self.times):
            os.kill(os.getppid() if self.parent else os.getpid(), self.number)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.moment == "train" and trainer.fit_loop.epoch_loop.total_batch_idx == self.step:
            self.send()

    def on_validation_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.moment == "val" and not trainer.sanity_checking:
            self.validations += 1
            if self.validations == self.step + 1:
                self.send()
