"""Lightning's Trainer, and what of `trainer.` is ours; what either refuses is told as early as it can be known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from cnn_classifier.build import bind, locate, nearest
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.errors import ConfigError
from cnn_classifier.hardware import choose, device_of
from cnn_classifier.module import METRICS, ImageClassifier
from cnn_classifier.optim import build_optimizer, build_schedulers
from cnn_classifier.trial import LAYOUTS

# What Lightning's Trainer does not know.
OURS = ("layout", "compile", "sizes")


def tune(module: ImageClassifier, settings: dict[str, Any], data: ImageFolderDataModule) -> str:
    """Set how the steps are computed, by what `settings` ask for or what is fastest here, and say why.

    Args:
        module: Its network is arranged, and compiled in place if that pays.
        settings: The values under `trainer.`; each `auto` becomes what was chosen.
        data: Decoded.
    """
    loader, preprocess = data.train_dataloader(), data.preprocess
    epochs = settings["max_epochs"] or 1
    choice, why = choose(
        module.network,
        settings,
        device=device_of(settings["accelerator"]),
        batch_shape=(loader.batch_size, preprocess.channels, preprocess.image_size, preprocess.image_size),
        steps=len(loader) * epochs if settings["max_steps"] == -1 else settings["max_steps"],
    )
    settings.update(precision=choice.precision, layout=choice.layout, compile=choice.compile)
    module.arrange(LAYOUTS[choice.layout])
    if choice.compile:
        module.network.compile()
    return f"computing with {choice} ({why})"


def require_size_free(model: Mapping[str, Any], sizes: Sequence[int] | None) -> Sequence[int]:
    """The sizes to train on; ConfigError if there are any and the network takes images of one size only."""
    if sizes and not getattr(locate(model["_target_"]), "size_free", False):
        raise ConfigError(
            f"trainer.sizes={list(sizes)}: {model['_target_']} takes images of one size; "
            "expected a network that pools over the whole image and says so with size_free = True"
        )
    return sizes or ()


def build_trainer(settings: dict[str, Any], *, callbacks: list[Callback], logger: list[Logger]) -> Trainer:
    """Lightning's Trainer; what it refuses becomes a ConfigError."""
    arguments = {key: value for key, value in settings.items() if key not in OURS}
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
