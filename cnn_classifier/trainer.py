"""Lightning's Trainer, and what of `trainer.` is ours; what either refuses is told as early as it can be known."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import nn

from cnn_classifier.budget import AUTO, parse_duration
from cnn_classifier.build import check_signature, did_you_mean, import_target, instantiate, instantiate_all
from cnn_classifier.checkpoint_io import ChecksummedCheckpointIO
from cnn_classifier.data.augment import Augmentation
from cnn_classifier.errors import ConfigError
from cnn_classifier.hardware import resolve_device, select_execution
from cnn_classifier.models.staged import FineTunable
from cnn_classifier.module import METRICS, ImageClassifier
from cnn_classifier.optim import build_optimizer, build_schedulers
from cnn_classifier.ranks import is_torchrun
from cnn_classifier.trial import StepTimer, Timing

# What Lightning's Trainer does not know.
NON_LIGHTNING_KEYS = ("layout", "compile", "sizes")


def tune_execution(
    values: Mapping[str, Any], num_classes: int, num_images: int, *, max_step_seconds: float = float("inf")
) -> tuple[Timing, str]:
    """How the steps are best computed here, unless the values ask for something, and why.

    Args:
        values: The plain configuration; only its number of epochs and how it computes may still be `auto`.
        num_classes: Length of the logits.
        images: About how many there are to train on.
        limit: The seconds that a step may take.
    """
    settings, dataset = values["trainer"], values["dataset"]
    shape = {"channels": dataset["channels"], "image_size": dataset["image_size"]}
    network: nn.Module = instantiate(values["model"], nn.Module, num_classes=num_classes, **shape)
    if isinstance(network, FineTunable):
        network.set_progress(0.5)  # what learns in the middle of the run takes the time of most of it
    train_size = max(settings["sizes"] or [dataset["image_size"]])
    num_steps = settings["max_steps"]
    if num_steps == -1 and settings["max_epochs"] != AUTO:
        num_steps = (settings["max_epochs"] or 1) * max(num_images // dataset["batch_size"], 1)
    optimizer = values["optimizer"] | {"lr": 1e-6}  # of the trial; it may be `auto` yet
    timer = StepTimer(
        network,
        resolve_device(settings["accelerator"]),
        batch_shape=(dataset["batch_size"], dataset["channels"], train_size, train_size),
        make_optimizer=partial(build_optimizer, optimizer),
        augment=Augmentation(instantiate_all(values["augment"], nn.Module), num_classes=num_classes),
    )
    return select_execution(
        timer,
        settings | {"optimizer": optimizer["_target_"]},
        num_steps=None if num_steps == -1 else num_steps,
        max_seconds=parse_duration(values["budget"], num_images),
        max_step_seconds=max_step_seconds,
        sweep_dir=Path(values["run_dir"]).parent if values["sweep"]["name"] else None,
    )


def check_variable_size(model: Mapping[str, Any], sizes: Sequence[int] | None) -> Sequence[int]:
    """The sizes to train on; ConfigError if there are any and the network takes images of one size only."""
    if sizes and not getattr(import_target(model["_target_"]), "supports_variable_size", False):
        raise ConfigError(
            f"trainer.sizes={list(sizes)}: {model['_target_']} takes images of one size; "
            "expected a network that pools over the whole image and says so with supports_variable_size = True"
        )
    widths, stride = model.get("widths"), model.get("stem_stride", 1)
    if sizes and widths and min(sizes) // stride >> len(widths) < 1:
        min_size = stride << len(widths)
        raise ConfigError(
            f"trainer.sizes={list(sizes)}: too small for {len(widths)} blocks; expected at least {min_size} px"
        )
    return sizes or ()


def instantiate_trainer(
    settings: dict[str, Any], network: nn.Module, *, callbacks: list[Callback], logger: list[Logger]
) -> Trainer:
    """Lightning's Trainer for a network; what it refuses becomes a ConfigError."""
    arguments = {key: value for key, value in settings.items() if key not in NON_LIGHTNING_KEYS}
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
