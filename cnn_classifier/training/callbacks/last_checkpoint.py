"""`last.ckpt`: where a training is, for the run that goes on from there."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cnn_classifier.errors import ConfigError
from cnn_classifier.training.signals import SignalHandler

SYNC_EVERY_N_STEPS = 10  # of several processes, which must stop at the same step, and wait for the answer


class LastCheckpoint(Checkpoint):
    """Saves at each epoch's end, every few minutes within one, and at the step at which the run is told to stop.

    Lightning calls it after all other callbacks, so that what it saves is the whole state of a moment.

    Args:
        dirpath: The folder of `last.ckpt`.
        minutes: How long a crash may set a run back.
    """

    def __init__(self, *, dirpath: str, every_n_minutes: float = 10.0) -> None:
        if every_n_minutes <= 0:
            raise ConfigError(f"callbacks.last.every_n_minutes={every_n_minutes} is out of range; expected more than 0")
        self.path, self.every_n_minutes = Path(dirpath) / "last.ckpt", every_n_minutes
        self.signal_handler, self.last_saved = SignalHandler(), 0.0
        self.stopped_early = False  # early stopping has decided that this is the end

    def state_dict(self) -> dict[str, Any]:
        return {"stopped_early": self.stopped_early}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("callbacks", {}).get(self.state_key, {})
        trainer.should_stop = state.get("stopped_early", False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.last_saved = time.monotonic()
        self.signal_handler.install()  # after Lightning, whose own handlers would end the run without saving

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # After the last batch comes the validation; its end is the next moment from which a run can go on.
        if trainer.is_last_batch or trainer.fit_loop._should_accumulate() or not self.is_due(trainer):
            return
        self.save(trainer)
        self.signal_handler.raise_if_received()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)
        self.signal_handler.raise_if_received()

    def is_due(self, trainer: Trainer) -> bool:
        """Whether to save now, which all processes of a training answer alike."""
        should_save = (
            self.signal_handler.received is not None or time.monotonic() - self.last_saved > 60 * self.every_n_minutes
        )
        if trainer.world_size == 1:
            return should_save
        if trainer.global_step % SYNC_EVERY_N_STEPS:
            return False
        return trainer.strategy.reduce_boolean_decision(should_save, all=False)

    def save(self, trainer: Trainer) -> None:
        self.stopped_early = trainer.should_stop
        trainer.save_checkpoint(self.path, weights_only=False)  # the optimiser and the position, too
        self.last_saved = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.signal_handler.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.signal_handler.restore()
