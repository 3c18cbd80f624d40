"""Build data module, module and `Trainer` from a configuration, and check early what would fail later."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from torch import nn

from cnn_classifier.config.compose import Config, to_container
from cnn_classifier.config.instantiate import import_target, instantiate_all
from cnn_classifier.config.metrics import resolve_mode, resolve_modes
from cnn_classifier.config.signature import check_signature
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import CHECKPOINT_DIR
from cnn_classifier.models.backbones import mean_and_std
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.models.validation import is_pretrained
from cnn_classifier.training.checkpoints import ChecksummedCheckpointIO
from cnn_classifier.training.devices import MEMORY_FORMATS
from cnn_classifier.training.distributed import is_torchrun
from cnn_classifier.training.loggers import build_loggers
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.optim import build_optimizer, build_schedulers


def build_datamodule(config: Config, index: DatasetIndex) -> ImageFolderDataModule:
    """Build the data module of a configuration without `auto` values.

    Raises:
        ConfigError: If a value is invalid, or the network does not support `dataset.train_sizes`.
    """
    dataset = build_dataset_config(config)
    check_train_sizes(config.model, dataset.train_sizes)
    augment = instantiate_all(to_container(config.augment), nn.Module)
    return ImageFolderDataModule(augment=augment, seed=config.seed, index=index, **asdict(dataset))


def build_module(config: Config, datamodule: ImageFolderDataModule) -> ImageClassifier:
    """Build the module of a configuration, with class names and preprocessing of the data.

    Raises:
        ConfigError: If a value is invalid.
    """
    module = ImageClassifier(
        to_container(config.model),
        class_names=datamodule.class_names,
        preprocess=datamodule.preprocess,
        optimizer=to_container(config.optimizer),
        scheduler=resolve_mode(to_container(config.scheduler), "scheduler"),
        loss=resolve_loss(to_container(config.loss), datamodule),
        aliases=datamodule.config.rename_classes,
    )
    # The constructors check the optimizer's and the schedule's arguments before any image is trained on.
    optimizer = build_optimizer(module.hparams["optimizer"], module.network)
    build_schedulers(module.hparams["scheduler"], optimizer, steps_per_epoch=1, total_steps=1)
    module.set_memory_format(MEMORY_FORMATS[config.compute.memory_format])
    if config.compute.compile:
        module.network.compile()
    return module


def build_trainer(config: Config, module: ImageClassifier, callbacks: Sequence[Callback]) -> Trainer:
    """Build the `Trainer`.

    Args:
        config: The configuration, of which `trainer`, `callbacks` and `logger` are used.
        module: The module to train.
        callbacks: Callbacks that are called before the configured ones.

    Raises:
        ConfigError: If Lightning refuses a value.
    """
    configured = instantiate_all(resolve_modes(to_container(config.callbacks), "callbacks"), Callback)
    loggers = build_loggers(to_container(config.logger))
    if loggers and not any(isinstance(callback, LearningRateMonitor) for callback in configured):
        configured.append(LearningRateMonitor("epoch"))
    arguments: dict[str, Any] = to_container(config.trainer)
    if isinstance(module.network, FineTunable) and arguments["strategy"] == "ddp":
        arguments["strategy"] = "ddp_find_unused_parameters_true"  # frozen blocks have no gradients
    check_signature(Trainer, arguments, name="trainer")
    try:
        return Trainer(**arguments, callbacks=[*callbacks, *configured], logger=loggers, plugins=build_plugins())
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def build_plugins() -> list[Any]:
    """Return the checkpoint plugin, and one that keeps Lightning from requeuing a SLURM job before it is saved."""
    is_slurm = SLURMEnvironment.detect() and not is_torchrun()
    return [ChecksummedCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if is_slurm else [])]


def fit(trainer: Trainer, module: ImageClassifier, datamodule: ImageFolderDataModule, ckpt_path: Path | None) -> None:
    """Call `trainer.fit`, with Lightning's configuration errors as ConfigError."""
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    except (MisconfigurationException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Early stopping conditioned on"):
            raise
        raise ConfigError(f"trainer: {' '.join(str(error).split())}") from error


def get_best_checkpoint(trainer: Trainer, run_dir: Path) -> Path:
    """Return the checkpoint with the best monitored value; save the last weights if no callback monitors one."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    path = run_dir / CHECKPOINT_DIR / "final.ckpt"
    trainer.save_checkpoint(path, weights_only=False)  # with the optimizer state, so that the run can be resumed
    return path


def build_dataset_config(config: Config) -> DatasetConfig:
    """Build the dataset options; pretrained networks keep the mean and standard deviation of their own training."""
    values = to_container(config.dataset)
    if is_pretrained(config.model):
        for key, default in mean_and_std(config.model.backbone).items():
            configured = values.get(key)
            values[key] = configured or (default if values.get("channels", 3) == 3 else [sum(default) / len(default)])
    return DatasetConfig(**values)


def resolve_loss(loss: dict[str, Any], datamodule: ImageFolderDataModule) -> dict[str, Any]:
    """Replace `class_weights=balanced` by numbers: all classes get the same total weight."""
    if loss["class_weights"] != "balanced":
        return loss
    counts = datamodule.class_counts["train"]
    num_trained = sum(count > 0 for count in counts)  # `split_file` may leave a class without training images
    return loss | {"class_weights": [sum(counts) / (num_trained * count) if count else 0.0 for count in counts]}


def check_train_sizes(model: Mapping[str, Any], sizes: Sequence[int] | str | None) -> None:
    """Raise ConfigError if the network does not support images of these sizes in pixels."""
    if not sizes or isinstance(sizes, str):
        return
    name = model["_target_"]
    if not getattr(import_target(name), "supports_variable_size", False):
        raise ConfigError(
            f"dataset.train_sizes={list(sizes)}: {name} supports one image size only; expected a network with global "
            "pooling that declares supports_variable_size = True, or dataset.train_sizes=null"
        )
    widths, stride = model.get("widths"), model.get("stem_stride", 1)
    if widths and min(sizes) // stride >> len(widths) < 1:
        raise ConfigError(
            f"dataset.train_sizes={list(sizes)}: too small for {len(widths)} blocks; expected at least "
            f"{stride << len(widths)} px"
        )
