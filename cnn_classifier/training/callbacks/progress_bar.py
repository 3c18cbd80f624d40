"""The progress bar of training and validation."""

import sys
import time
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

REFRESH_INTERVAL_SECONDS = 0.5


class ProgressBar(TQDMProgressBar):
    """A `TQDMProgressBar` that is redrawn at most twice per second, and on terminals only.

    Each redraw blocks the training loop.
    """

    def __init__(self) -> None:
        super().__init__(leave=False)
        self.last_refresh_time = 0.0
        if not sys.stderr.isatty():
            self.disable()

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}")  # Lightning counts from 0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if time.monotonic() - self.last_refresh_time >= REFRESH_INTERVAL_SECONDS or trainer.is_last_batch:
            self.last_refresh_time = time.monotonic()
            super().on_train_batch_end(trainer, *args)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.last_refresh_time >= REFRESH_INTERVAL_SECONDS:
            self.last_refresh_time = time.monotonic()
            super().on_validation_batch_end(*args, **kwargs)
