"""A run tells how far it is, for whoever waits for it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.status import Status

SECONDS_BETWEEN_BEATS = 5.0


class Heartbeat(Callback):
    """Keeps `status.json` up to date: at every epoch's end, and every few seconds so that its time tells of life.

    Args:
        folder: Of the run.
        words: What its command changed.
    """

    def __init__(self, folder: Path, words: Sequence[str] = ()) -> None:
        self.status = Status(run_dir=folder, words=list(words))
        self.beaten = 0.0

    def beat(self, trainer: Trainer) -> None:
        """Write how it stands."""
        self.beaten = time.monotonic()
        if trainer.is_global_zero:
            self.status.write()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.status = replace(self.status, epoch=trainer.current_epoch, max_epochs=trainer.max_epochs or 0)
        self.beat(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if time.monotonic() - self.beaten > SECONDS_BETWEEN_BEATS:
            self.beat(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self.on_train_batch_end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy, loss = (trainer.callback_metrics.get(f"val/{name}") for name in ("accuracy", "loss"))
        self.status = replace(
            self.status,
            epoch=trainer.current_epoch + 1,
            val_accuracy=finite(accuracy),
            val_loss=finite(loss),
        )
        self.beat(trainer)


def finite(value: Any) -> float | None:
    """A metric as a number that JSON takes."""
    number = None if value is None else float(value)
    return number if number is not None and abs(number) < float("inf") else None
