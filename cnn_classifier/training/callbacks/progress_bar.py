"""The progress bar of the training."""

import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks.progress.progress_bar import ProgressBar as LightningProgressBar
from tqdm import tqdm

from cnn_classifier.lightning_internals import global_batch_index
from cnn_classifier.progress import progress_bar

REFRESH_INTERVAL_SECONDS = 0.5


class ProgressBar(LightningProgressBar):
    """One progress bar over all epochs, with the remaining time. It is drawn on terminals only."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm[Any] | None = None
        self.is_enabled = True

    def disable(self) -> None:
        self.is_enabled = False

    def enable(self) -> None:
        self.is_enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.bar = progress_bar(
            description="training",
            total=count_batches(trainer),
            initial=global_batch_index(trainer) + 1,
            unit="batch",
            mininterval=REFRESH_INTERVAL_SECONDS,
            enabled=self.is_enabled,
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.set_description(f"epoch {trainer.current_epoch + 1}", refresh=False)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.bar is not None:
            self.bar.close()


def count_batches(trainer: Trainer) -> int | None:
    """Return the number of batches of the whole training, None if neither epochs nor steps are limited."""
    max_epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else math.inf
    max_steps = trainer.max_steps * trainer.accumulate_grad_batches if trainer.max_steps != -1 else math.inf
    total = min(max_epochs * trainer.num_training_batches, max_steps)
    return int(total) if math.isfinite(total) else None
