"""Lightning's Trainer, and what of `trainer.` is ours; what either refuses is told as early as it can be known."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import nn

from cnn_classifier.config.signature import check_signature, did_you_mean
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.checkpoints import ChecksummedCheckpointIO
from cnn_classifier.training.distributed import is_torchrun
from cnn_classifier.training.module import METRICS, ImageClassifier
from cnn_classifier.training.optim import build_optimizer, build_schedulers


def instantiate_trainer(
    settings: dict[str, Any], network: nn.Module, *, callbacks: list[Callback], logger: list[Logger]
) -> Trainer:
    """Lightning's Trainer for a network; what it refuses becomes a ConfigError."""
    arguments = dict(settings)
    if (
        isinstance(network, FineTunable) and arguments["strategy"] == "ddp"
    ):  # parts that rest have no gradients to wait for
        arguments["strategy"] = "ddp_find_unused_parameters_true"
    check_signature(Trainer, arguments, name="trainer")
    try:
        return Trainer(**arguments, callbacks=callbacks, logger=logger, plugins=build_plugins())
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def build_plugins() -> list[Any]:
    """Our checkpoints, and no requeuing by Lightning: it would end a run without what `LastCheckpoint` saves."""
    is_slurm = SLURMEnvironment.detect() and not is_torchrun()
    return [ChecksummedCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if is_slurm else [])]


def check_monitors(trainer: Trainer, module: ImageClassifier) -> None:
    """Raise ConfigError for what Lightning would only find in or after the first epoch."""
    optimizer = build_optimizer(module.hparams["optimizer"], module.network)
    build_schedulers(module.hparams["scheduler"], optimizer, steps_per_epoch=1, total_steps=1)
    monitoring_callbacks = [*trainer.early_stopping_callbacks, *trainer.checkpoint_callbacks]
    monitors = [("callbacks", getattr(callback, "monitor", None)) for callback in monitoring_callbacks]
    for group, monitor in [*monitors, ("scheduler", module.hparams["scheduler"].get("monitor"))]:
        if monitor is not None and monitor not in METRICS:
            raise ConfigError(f"{group}: monitor={monitor} is not measured{did_you_mean(monitor, METRICS)}")


def fit(trainer: Trainer, module: ImageClassifier, datamodule: LightningDataModule, ckpt_path: Path | None) -> None:
    """Lightning's fit; what it finds misconfigured becomes a ConfigError."""
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    except (MisconfigurationException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Early stopping conditioned on"):
            raise
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def get_best_checkpoint(trainer: Trainer, run_dir: Path) -> Path:
    """The checkpoint with the best monitored value; without such a callback, the weights as they are now."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    path = run_dir / "checkpoints" / "final.ckpt"
    trainer.save_checkpoint(path, weights_only=False)  # one that can be gone on with, as `last.ckpt`
    return path
