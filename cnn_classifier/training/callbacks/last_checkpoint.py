"""The checkpoint `last.ckpt`, from which a run is resumed."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, Timer

from cnn_classifier.errors import ConfigError
from cnn_classifier.files import LAST_CHECKPOINT
from cnn_classifier.lightning_internals import is_accumulating
from cnn_classifier.training.signals import SignalHandler

# Several processes must stop at the same step; agreeing on it synchronizes them, so that they do so every few steps.
SYNC_EVERY_N_STEPS = 10


class LastCheckpoint(Checkpoint):
    """A `Checkpoint` callback that saves at the end of each epoch, every few minutes, and on a signal.

    Lightning calls checkpoint callbacks after all other callbacks, so that the checkpoint contains their final state.

    Args:
        dirpath: The directory of `last.ckpt`.
        every_n_minutes: The minutes between two checkpoints within an epoch, which is the most that a crash can lose.

    Raises:
        ConfigError: If `every_n_minutes` is not positive.
    """

    def __init__(self, *, dirpath: str, every_n_minutes: float = 10.0) -> None:
        if every_n_minutes <= 0:
            raise ConfigError(
                f"callbacks.last.every_n_minutes={every_n_minutes} is out of range: expected a number above 0"
            )
        self.path, self.every_n_minutes = Path(dirpath) / LAST_CHECKPOINT.name, every_n_minutes
        self.signal_handler, self.last_saved = SignalHandler(), 0.0
        self.stopped_early = False  # `Trainer.should_stop`, which early stopping sets

    def state_dict(self) -> dict[str, Any]:
        return {"stopped_early": self.stopped_early}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("callbacks", {}).get(self.state_key, {})
        trainer.should_stop = state.get("stopped_early", False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last_saved = time.monotonic()
        self.signal_handler.install()  # after those of Lightning, which stop without saving

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # The next state from which a run can be resumed after the last batch is the end of the validation.
        if trainer.is_last_batch or is_accumulating(trainer) or not self.is_due(trainer):
            return
        self.save(trainer)
        self.signal_handler.raise_if_received()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)
        self.signal_handler.raise_if_received()

    def is_due(self, trainer: Trainer) -> bool:
        """Return whether to save now; the result is the same in all processes."""
        should_save = (
            self.signal_handler.received is not None or time.monotonic() - self.last_saved > 60 * self.every_n_minutes
        )
        if trainer.world_size == 1:
            return should_save
        if trainer.global_step % SYNC_EVERY_N_STEPS:
            return False
        return trainer.strategy.reduce_boolean_decision(should_save, all=False)

    def save(self, trainer: Trainer) -> None:
        """Write `last.ckpt`."""
        timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]  # type: ignore[attr-defined]
        is_out_of_time = any((timer.time_remaining() or 1) <= 0 for timer in timers)
        self.stopped_early = trainer.should_stop and not is_out_of_time  # a resumed run may have more time
        trainer.save_checkpoint(self.path, weights_only=False)  # with optimizer state and position
        self.last_saved = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signal_handler.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.signal_handler.restore()
