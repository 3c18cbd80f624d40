"""Console output and `metrics.csv` for each epoch."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, Timer
from tqdm import tqdm

from cnn_classifier.files import METRICS_FILE, write_csv
from cnn_classifier.lightning_internals import count_epochs

# The columns of the table on the console, with their widths in characters.
COLUMNS = (
    ("epoch", 9),
    ("train loss", 10),
    ("accuracy", 9),
    ("val loss", 9),
    ("accuracy", 9),
    ("seconds", 9),
    ("images/s", 9),
)


class EpochLogger(Callback):
    """A `Callback` that prints one line per epoch and writes one row per epoch to `metrics.csv`.

    The rows are saved in the checkpoint, so that a resumed run has all of them.

    Args:
        run_dir: The run directory, where `metrics.csv` is written.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.history: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Reset the counters of an epoch. An epoch that is resumed is counted from there."""
        self.num_images, self.validation_seconds, self.epoch_start_time = 0, 0.0, time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["epochs"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            tqdm.write(format_line([name for name, _ in COLUMNS]))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.reset()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        images, labels = batch
        self.num_images, self.image_size = self.num_images + len(labels), images.shape[-1]
        self.learning_rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_start_time = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_seconds += time.perf_counter() - self.validation_start_time

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self.epoch_start_time
        # Without a validation in this epoch, the values of val/* are from an earlier one.
        stages = ("train/", "val/") if self.validation_seconds else ("train/",)
        row = {
            "epoch": trainer.current_epoch + 1,
            "image_size": self.image_size,
            **{name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith(stages)},
            "learning_rate": self.learning_rate,
            "images_per_second": self.num_images / (seconds - self.validation_seconds),
            "seconds": seconds,
        }
        self.history.append(row)
        if trainer.is_global_zero:
            # Write all rows, so that the file contains each epoch once after a resume.
            columns = list(dict.fromkeys(name for past_row in self.history for name in past_row))
            rows = [[past.get(name, "") for name in columns] for past in self.history]
            write_csv(self.run_dir / METRICS_FILE, [columns, *rows])
            tqdm.write(format_epoch(row, count_epochs(trainer)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and (reason := describe_early_stop(trainer)):
            tqdm.write(f"stopped after epoch {len(self.history)}: {reason}")

    @property
    def images_per_second(self) -> float | None:
        """The median training speed of all epochs but the first, with data loading and without validation."""
        speeds = [row["images_per_second"] for row in self.history]
        return statistics.median(speeds[1:] or speeds) if speeds else None


def format_epoch(row: dict[str, Any], max_epochs: int) -> str:
    """Format a line of the table on the console, at most 80 characters wide.

    Args:
        row: The values of the epoch, see `EpochLogger`.
        max_epochs: The number of epochs of the run, 0 if it is not limited.
    """
    epoch = f"{row['epoch']}/{max_epochs}" if max_epochs > 0 else str(row["epoch"])
    columns = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
    values = [f"{row[name]:.4f}" if name in row else "" for name in columns]
    speed = row["images_per_second"]
    return format_line([epoch, *values, f"{row['seconds']:.1f}", f"{speed:.0f}" if speed >= 10 else f"{speed:.2g}"])


def format_line(cells: Sequence[str]) -> str:
    """Align the cells of a line of the table."""
    return " ".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def describe_early_stop(trainer: Trainer) -> str | None:
    """Return the reason why the training ended before its last epoch, None if no callback or limit stopped it."""
    for callback in trainer.early_stopping_callbacks:
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            return callback.stopping_reason_message.partition(" Signaling")[0]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and (remaining := callback.time_remaining()) is not None and remaining <= 0:
            return "trainer.max_time is over."
    return None
