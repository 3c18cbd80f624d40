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

from cnn_classifier.budget import AUTO, seconds_of
from cnn_classifier.build import bind, build, build_all, locate, nearest
from cnn_classifier.checkpoint_io import SealedCheckpoints
from cnn_classifier.data.augment import Augmentation
from cnn_classifier.errors import ConfigError
from cnn_classifier.hardware import choose, device_of
from cnn_classifier.models.staged import Staged
from cnn_classifier.module import METRICS, ImageClassifier
from cnn_classifier.optim import build_optimizer, build_schedulers
from cnn_classifier.ranks import is_among_ranks
from cnn_classifier.trial import Measured, Trial

# What Lightning's Trainer does not know.
OURS = ("layout", "compile", "sizes")


def tune(
    values: Mapping[str, Any], num_classes: int, images: int, *, limit: float = float("inf")
) -> tuple[Measured, str]:
    """How the steps are best computed here, unless the values ask for something, and why.

    Args:
        values: The plain configuration; only its number of epochs and how it computes may still be `auto`.
        num_classes: Length of the logits.
        images: About how many there are to train on.
        limit: The seconds that a step may take.
    """
    settings, dataset = values["trainer"], values["dataset"]
    shape = {"channels": dataset["channels"], "image_size": dataset["image_size"]}
    network: nn.Module = build(values["model"], nn.Module, num_classes=num_classes, **shape)
    if isinstance(network, Staged):
        network.begin_epoch(0.5)  # what learns in the middle of the run takes the time of most of it
    side = max(settings["sizes"] or [dataset["image_size"]])
    steps = settings["max_steps"]
    if steps == -1 and settings["max_epochs"] != AUTO:
        steps = (settings["max_epochs"] or 1) * max(images // dataset["batch_size"], 1)
    optimizer = values["optimizer"] | {"lr": 1e-6}  # of the trial; it may be `auto` yet
    trial = Trial(
        network,
        device_of(settings["accelerator"]),
        batch_shape=(dataset["batch_size"], dataset["channels"], side, side),
        make_optimizer=partial(build_optimizer, optimizer),
        augment=Augmentation(build_all(values["augment"], nn.Module), num_classes=num_classes),
    )
    return choose(
        trial,
        settings | {"optimizer": optimizer["_target_"]},
        steps=None if steps == -1 else steps,
        seconds=seconds_of(values["budget"], images),
        limit=limit,
        sweep=Path(values["run_dir"]).parent if values["sweep"]["name"] else None,
    )


def require_size_free(model: Mapping[str, Any], sizes: Sequence[int] | None) -> Sequence[int]:
    """The sizes to train on; ConfigError if there are any and the network takes images of one size only."""
    if sizes and not getattr(locate(model["_target_"]), "size_free", False):
        raise ConfigError(
            f"trainer.sizes={list(sizes)}: {model['_target_']} takes images of one size; "
            "expected a network that pools over the whole image and says so with size_free = True"
        )
    widths, stride = model.get("widths"), model.get("stem_stride", 1)
    if sizes and widths and min(sizes) // stride >> len(widths) < 1:
        least = stride << len(widths)
        raise ConfigError(
            f"trainer.sizes={list(sizes)}: too small for {len(widths)} blocks; expected at least {least} px"
        )
    return sizes or ()


def build_trainer(
    settings: dict[str, Any], network: nn.Module, *, callbacks: list[Callback], logger: list[Logger]
) -> Trainer:
    """Lightning's Trainer for a network; what it refuses becomes a ConfigError."""
    arguments = {key: value for key, value in settings.items() if key not in OURS}
    if isinstance(network, Staged) and arguments["strategy"] == "ddp":  # parts that rest have no gradients to wait for
        arguments["strategy"] = "ddp_find_unused_parameters_true"
    bind(Trainer, arguments, named="trainer")
    try:
        return Trainer(**arguments, callbacks=callbacks, logger=logger, plugins=plugins())
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def plugins() -> list[Any]:
    """Our checkpoints, and no requeuing by Lightning: it would end a run without what `LastCheckpoint` saves."""
    under_slurm = SLURMEnvironment.detect() and not is_among_ranks()
    return [SealedCheckpoints(), *([SLURMEnvironment(auto_requeue=False)] if under_slurm else [])]


def require_usable(trainer: Trainer, module: ImageClassifier) -> None:
    """Raise ConfigError for what Lightning would only find in or after the first epoch."""
    optimizer = build_optimizer(module.hparams["optimizer"], module.network)
    build_schedulers(module.hparams["scheduler"], optimizer, steps_per_epoch=1, total_steps=1)
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
    trainer.save_checkpoint(path, weights_only=False)  # one that can be gone on with, as `last.ckpt`
    return path
