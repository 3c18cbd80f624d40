"""Lightning's Trainer: what it refuses is told as a ConfigError, as early as it can be known."""

from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from cnn_classifier.build import bind, nearest
from cnn_classifier.errors import ConfigError
from cnn_classifier.module import METRICS, ImageClassifier
from cnn_classifier.optim import build_optimizer, build_schedulers


def build_trainer(arguments: dict[str, Any], *, callbacks: list[Callback], logger: list[Logger]) -> Trainer:
    """Lightning's Trainer; what it refuses becomes a ConfigError."""
    bind(Trainer, arguments, named="trainer")
    try:
        return Trainer(**arguments, callbacks=callbacks, logger=logger)
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def require_usable(trainer: Trainer, module: ImageClassifier) -> None:
    """Raise ConfigError for what Lightning would only find in or after the first epoch."""
    optimizer = build_optimizer(module.hparams["optimizer"], module.network)
    build_schedulers(module.hparams["scheduler"], optimizer, steps_per_epoch=1)
    watching = [*trainer.early_stopping_callbacks, *trainer.checkpoint_callbacks]
    monitors = [("callbacks", getattr(callback, "monitor", None)) for callback in watching]
    for place, monitor in [*monitors, ("scheduler", module.hparams["scheduler"].get("monitor"))]:
        if monitor is not None and monitor not in METRICS:
            raise ConfigError(f"{place}: monitor={monitor} is not measured{nearest(monitor, METRICS)}")


def fit(trainer: Trainer, module: ImageClassifier, data: LightningDataModule, resumed: Path | None) -> None:
    """Lightning's fit; what it finds misconfigured becomes a ConfigError."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resumed)
    except (MisconfigurationException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Early stopping conditioned on"):
            raise
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def best_checkpoint(trainer: Trainer, run_dir: Path) -> Path:
    """The checkpoint with the best monitored value; without such a callback, the weights as they are now."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    path = run_dir / "checkpoints" / "final.ckpt"
    trainer.save_checkpoint(path)
    return path
