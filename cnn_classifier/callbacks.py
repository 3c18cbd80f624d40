"""What happens around the epochs: a line and a row for each, and a calm progress bar."""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from tqdm import tqdm

from cnn_classifier.storage import write_csv

SECONDS_BETWEEN_UPDATES = 0.5


class EpochRecord(Callback):
    """One line and one row an epoch, also as `metrics.csv`.

    The rows travel in the checkpoint, so that a resumed run has them all.

    Args:
        folder: Where `metrics.csv` goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.epochs: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        """Begin to count an epoch; one that is resumed in its middle counts from there."""
        self.images, self.validating, self.started = 0, 0.0, time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        images, labels = batch
        self.images, self.image_size = self.images + len(labels), images.shape[-1]
        self.learning_rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validating += time.perf_counter() - self.validation_started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        stages = ("train/", "val/") if self.validating else ("train/",)  # without one, val/* is of an earlier epoch
        row = {
            "epoch": trainer.current_epoch + 1,
            "image_size": self.image_size,
            **{name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith(stages)},
            "learning_rate": self.learning_rate,
            "images_per_second": self.images / (seconds - self.validating),
            "seconds": seconds,
        }
        self.epochs.append(row)
        if trainer.is_global_zero:
            # All rows anew: after a resume the file holds every epoch once.
            columns = list(dict.fromkeys(name for past in self.epochs for name in past))
            rows = [[past.get(name, "") for name in columns] for past in self.epochs]
            write_csv(self.folder / "metrics.csv", [columns, *rows])
            tqdm.write(epoch_line(row, trainer.max_epochs or 0))

    @property
    def images_per_second(self) -> float | None:
        """Median of the epochs after the first, loading included, validation excluded."""
        speeds = [row["images_per_second"] for row in self.epochs]
        return statistics.median(speeds[1:] or speeds) if speeds else None


def epoch_line(row: dict[str, Any], max_epochs: int) -> str:
    """`epoch  3/30  train loss 0.41 accuracy 0.83  val loss 0.39 accuracy 0.84  12 s  350 images/s`"""
    parts = [f"epoch {row['epoch']:>{len(str(max_epochs))}}/{max_epochs}"]
    for stage in ("train", "val"):
        if f"{stage}/loss" in row:
            parts.append(f"{stage} loss {row[f'{stage}/loss']:.4f} accuracy {row[f'{stage}/accuracy']:.4f}")
    return "  ".join([*parts, f"{row['seconds']:.1f} s", f"{row['images_per_second']:.0f} images/s"])


class ProgressBar(TQDMProgressBar):
    """Lightning's own bar at most twice a second, on terminals only: each redraw costs the training loop time."""

    def __init__(self) -> None:
        super().__init__(leave=False)
        self.drawn = 0.0
        if not sys.stderr.isatty():
            self.disable()

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}")  # Lightning's count is from 0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if time.monotonic() - self.drawn >= SECONDS_BETWEEN_UPDATES or trainer.is_last_batch:
            self.drawn = time.monotonic()
            super().on_train_batch_end(trainer, *args)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.drawn >= SECONDS_BETWEEN_UPDATES:
            self.drawn = time.monotonic()
            super().on_validation_batch_end(*args, **kwargs)
