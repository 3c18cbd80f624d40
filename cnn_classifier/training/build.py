"""Build data module, module and `Trainer` from a configuration, and check early what would fail later."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, LearningRateMonitor, ModelCheckpoint
from torch import nn

from cnn_classifier.config.compose import Config, to_container
from cnn_classifier.config.instantiate import import_target, instantiate_all
from cnn_classifier.config.metrics import check_monitors, resolve_mode, resolve_modes
from cnn_classifier.config.trainer import UNSUPPORTED, canonical_precision
from cnn_classifier.config.unused import COMPONENT_GROUPS, check_components
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.loading.loader import check_batch_limits
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError, single_line
from cnn_classifier.models.backbones import mean_and_std
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.models.validation import is_pretrained
from cnn_classifier.training.callbacks.progress_bar import ProgressBar
from cnn_classifier.training.checkpoints import ChecksummedCheckpointIO
from cnn_classifier.training.devices import MEMORY_FORMATS
from cnn_classifier.training.distributed import is_torchrun, resolve_processes
from cnn_classifier.training.loggers import build_loggers
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.optim import build_optimizer, build_schedulers
from cnn_classifier.training.task import resolve_loss


def build_datamodule(config: Config, index: DatasetIndex) -> ImageFolderDataModule:
    """Build the data module of a configuration without `auto` values.

    Raises:
        ConfigError: If a value is invalid, or the network does not support `dataset.train_sizes`.
    """
    dataset = build_dataset_config(config)
    check_train_sizes(config.model, dataset.train_sizes)
    return ImageFolderDataModule(augment=build_transforms(config), seed=config.seed, index=index, **asdict(dataset))


def build_transforms(config: Config) -> list[nn.Module]:
    """Build the augmentation; there are no flips as long as their probability is `auto`."""
    values = to_container(config.augment)
    if (values.get("flip") or {}).get("p") == AUTO:  # resolved after decoding
        values["flip"] = values["flip"] | {"p": 0.0}
    return instantiate_all(values, nn.Module)


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
        loss=resolve_loss(to_container(config.loss), datamodule.class_counts["train"]),
        aliases=datamodule.config.rename_classes,
    )
    # The constructors check the optimizer's and the schedule's arguments before any image is trained on.
    optimizer = build_optimizer(module.hparams["optimizer"], module.network)
    build_schedulers(module.hparams["scheduler"], optimizer, steps_per_epoch=1, total_steps=1)
    module.set_memory_format(MEMORY_FORMATS[config.compute.memory_format])
    if config.compute.compile:
        module.network.compile()
    return module


def check_lightning(config: Config) -> None:
    """Raise ConfigError if a component or the `Trainer` refuses an argument, or the machine lacks a device."""
    check_components(to_container(config), COMPONENT_GROUPS)
    if resolve_processes(config.trainer) > 1:
        raise ConfigError(
            f"trainer.devices={config.trainer.devices} requires several processes; use the command train, or start the "
            "script with torchrun"
        )
    make_trainer(config, logger=False, enable_checkpointing=False)


def build_trainer(
    config: Config, module: ImageClassifier, datamodule: ImageFolderDataModule, callbacks: Sequence[Callback]
) -> Trainer:
    """Build the `Trainer`.

    Args:
        config: The configuration, of which `trainer`, `callbacks` and `logger` are used.
        module: The module to train.
        datamodule: The prepared data module.
        callbacks: Callbacks that are called before the configured ones; `trainer.fast_dev_run` leaves them out.

    Raises:
        ConfigError: If Lightning refuses a value, or the data has fewer batches than a value requires.
    """
    has_val_images = bool(datamodule.splits["val"])
    check_monitors(to_container(config), has_val_images=has_val_images)
    configured = instantiate_all(resolve_modes(to_container(config.callbacks), "callbacks"), Callback)
    if not has_val_images:  # `get_best_checkpoint` saves the last weights
        configured = [
            c for c in configured if not (isinstance(c, ModelCheckpoint) and str(c.monitor).startswith("val/"))
        ]
    if config.trainer.enable_progress_bar is False:
        configured = [callback for callback in configured if not isinstance(callback, ProgressBar)]
    is_fine_tuning = isinstance(module.network, FineTunable)
    if config.trainer.fast_dev_run:
        configured = [callback for callback in configured if not isinstance(callback, Checkpoint)]
        arguments: dict[str, Any] = {"callbacks": configured, "logger": False, "enable_checkpointing": False}
    else:
        loggers = build_loggers(to_container(config.logger))
        if loggers and not any(isinstance(callback, LearningRateMonitor) for callback in configured):
            configured.append(LearningRateMonitor("epoch"))
        arguments = {"callbacks": [*callbacks, *configured], "logger": loggers}
    if not has_val_images:
        arguments["limit_val_batches"] = 0
    trainer = make_trainer(config, is_fine_tuning=is_fine_tuning, **arguments)
    datamodule.trainer = trainer  # whose processes share the batches
    train_loader = datamodule.build_loader("train", sampler=datamodule.config.sampler)
    val_batches = len(datamodule.build_loader("val")) if has_val_images else 0
    check_batch_limits(trainer, train=len(train_loader), val=val_batches)
    return trainer


def make_trainer(config: Config, *, is_fine_tuning: bool = False, **arguments: Any) -> Trainer:
    """Create the `Trainer` from the node `trainer` and further arguments.

    Raises:
        ConfigError: If Lightning refuses a value.
    """
    configured: dict[str, Any] = to_container(config.trainer)
    values = {name: value for name, value in configured.items() if name not in UNSUPPORTED} | arguments
    if is_fine_tuning and values["strategy"] == "ddp":
        values["strategy"] = "ddp_find_unused_parameters_true"  # frozen blocks have no gradients
    if values["precision"] is not None:
        values["precision"] = canonical_precision(values["precision"])
    try:
        return Trainer(**values, plugins=build_plugins())
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise ConfigError(f"trainer: {single_line(error)}") from error


def build_plugins() -> list[Any]:
    """Return the checkpoint plugin, and one that keeps Lightning from requeuing a SLURM job before it is saved."""
    is_slurm = SLURMEnvironment.detect() and not is_torchrun()
    return [ChecksummedCheckpointIO(), *([SLURMEnvironment(auto_requeue=False)] if is_slurm else [])]


def fit(trainer: Trainer, module: ImageClassifier, datamodule: ImageFolderDataModule, ckpt_path: Path | None) -> None:
    """Call `trainer.fit`, with Lightning's configuration errors as ConfigError; test too in a trial run."""
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    except (MisconfigurationException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not str(error).startswith("Early stopping conditioned on"):
            raise
        raise ConfigError(f"trainer: {single_line(error)}") from error
    if count := int(vars(trainer)["fast_dev_run"]):
        if datamodule.splits["test"]:
            trainer.test(module, datamodule=datamodule, verbose=False)
        print(
            f"trainer.fast_dev_run={count}: training, validation and test ran without errors on at most {count} "
            f"batch{'es' * (count > 1)} each; no checkpoint and no report were written"
        )


def build_dataset_config(config: Config) -> DatasetConfig:
    """Build the dataset options; pretrained networks keep the mean and standard deviation of their own training."""
    values = to_container(config.dataset)
    if is_pretrained(config.model):
        for key, default in mean_and_std(config.model.backbone).items():
            configured = values.get(key)
            values[key] = configured or (default if values.get("channels", 3) == 3 else [sum(default) / len(default)])
    return DatasetConfig(**values)


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
