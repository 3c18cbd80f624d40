"""Step metric-based learning-rate schedules before the checkpoint of an epoch is saved."""

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.lr_scheduler import ReduceLROnPlateau


class PlateauStep(Callback):
    """Step `ReduceLROnPlateau` schedules whenever their metric has a new value.

    That is after each validation for `val/*`, and after each epoch for other metrics. Lightning steps after each epoch,
    with the old value if there was no validation, and after the checkpoint callbacks, so that a resumed run would lack
    the last step. `build_schedulers` disables Lightning's own step.
    """

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self.step(trainer, lambda monitor: monitor.startswith("val/"))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step(trainer, lambda monitor: not monitor.startswith("val/"))

    def step(self, trainer: Trainer, is_new: Callable[[str], bool]) -> None:
        """Step the schedules whose `monitor` is new."""
        for config in trainer.lr_scheduler_configs:
            value = trainer.callback_metrics.get(str(config.monitor))
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None and is_new(str(config.monitor)):
                config.scheduler.step(value)
