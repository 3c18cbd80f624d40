"""A callback that updates the run status file."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.files import REPORT_HTML, REPORT_JSON
from cnn_classifier.lightning_internals import count_epochs
from cnn_classifier.training.status import Status

WRITE_INTERVAL_SECONDS = 5.0


class StatusWriter(Callback):
    """A `Callback` that writes `status.json` after each epoch and every few seconds.

    The modification time of the file shows that the process is still running.

    Args:
        run_dir: The run directory.
        overrides: The overrides of the command of the run.
    """

    def __init__(self, run_dir: Path, overrides: Sequence[str] = ()) -> None:
        self.status = Status(run_dir=run_dir, overrides=list(overrides))
        self.last_written = 0.0

    def write(self, trainer: Trainer) -> None:
        """Write the status file on rank 0."""
        self.last_written = time.monotonic()
        if trainer.is_global_zero:
            self.status.write()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.status = replace(self.status, epoch=trainer.current_epoch, max_epochs=count_epochs(trainer))
        self.write(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:  # the report of a finished run that is trained further
            for name in (REPORT_JSON, REPORT_HTML):
                (self.status.run_dir / name).unlink(missing_ok=True)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if time.monotonic() - self.last_written > WRITE_INTERVAL_SECONDS:
            self.write(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self.on_train_batch_end(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy, loss = (trainer.callback_metrics.get(f"val/{name}") for name in ("accuracy", "loss"))
        self.status = replace(
            self.status,
            epoch=trainer.current_epoch + 1,
            val_accuracy=to_finite_float(accuracy),
            val_loss=to_finite_float(loss),
        )
        self.write(trainer)


def to_finite_float(value: Any) -> float | None:
    """Return a metric as a float, None if it is missing, NaN or infinite, which JSON does not support."""
    number = None if value is None else float(value)
    return number if number is not None and abs(number) < float("inf") else None
