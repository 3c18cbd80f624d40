"""What happens around the epochs: a line and a row for each, and a calm progress bar."""

import statistics
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from cnn_classifier.files import write_csv


class EpochLogger(Callback):
    """One line and one row an epoch, also as `metrics.csv`.

    The rows travel in the checkpoint, so that a resumed run has them all.

    Args:
        folder: Where `metrics.csv` goes.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.history: list[dict[str, Any]] = []
        self.reset()

    def reset(self) -> None:
        """Begin to count an epoch; one that is resumed in its middle counts from there."""
        self.num_images, self.validation_seconds, self.epoch_start_time = 0, 0.0, time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["epochs"])

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
        stages = (
            ("train/", "val/") if self.validation_seconds else ("train/",)
        )  # without one, val/* is of an earlier epoch
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
            # All rows anew: after a resume the file holds every epoch once.
            columns = list(dict.fromkeys(name for past_row in self.history for name in past_row))
            rows = [[past.get(name, "") for name in columns] for past in self.history]
            write_csv(self.run_dir / "metrics.csv", [columns, *rows])
            tqdm.write(format_epoch(row, trainer.max_epochs or 0))

    @property
    def images_per_second(self) -> float | None:
        """Median of the epochs after the first, loading included, validation excluded."""
        speeds = [row["images_per_second"] for row in self.history]
        return statistics.median(speeds[1:] or speeds) if speeds else None


def format_epoch(row: dict[str, Any], max_epochs: int) -> str:
    """`epoch  3/30  train loss 0.41 accuracy 0.83  val loss 0.39 accuracy 0.84  12 s  350 images/s`"""
    parts = [f"epoch {row['epoch']:>{len(str(max_epochs))}}/{max_epochs}"]
    for stage in ("train", "val"):
        if f"{stage}/loss" in row:
            parts.append(f"{stage} loss {row[f'{stage}/loss']:.4f} accuracy {row[f'{stage}/accuracy']:.4f}")
    return "  ".join([*parts, f"{row['seconds']:.1f} s", f"{row['images_per_second']:.0f} images/s"])
