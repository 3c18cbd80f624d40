"""Step metric-based learning-rate schedules before the checkpoint of an epoch is saved."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau


class PlateauStep(Callback):
    """Step `ReduceLROnPlateau` schedulers at the end of each training epoch.

    Lightning steps them after the checkpoint callbacks, so that a resumed run would lack the last step.
    `build_schedulers` disables Lightning's own step.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            value = trainer.callback_metrics.get(str(config.monitor))
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)
