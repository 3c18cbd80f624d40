"""The spine: from a scanned folder to a tested checkpoint. Read this file to know what a training is."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from torch import nn

from cnn_classifier.config.compose import Config, to_container
from cnn_classifier.config.instantiate import import_target, instantiate_all
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import mean_and_std
from cnn_classifier.models.validation import is_pretrained
from cnn_classifier.training.devices import MEMORY_FORMATS
from cnn_classifier.training.loggers import FaultTolerantLogger
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.trainer import check_monitors, instantiate_trainer


def build_datamodule(config: Config, scan: DatasetIndex) -> ImageFolderDataModule:
    """The images, split, and how they are changed."""
    augment = instantiate_all(to_container(config.augment), nn.Module)
    sizes = check_variable_size(config.model, to_container(config.dataset.train_sizes))
    options = build_dataset_config(config)
    return ImageFolderDataModule(scan=scan, options=options, augment=augment, seed=config.seed, sizes=sizes)


def build_module(config: Config, datamodule: ImageFolderDataModule) -> ImageClassifier:
    """The network and all that a checkpoint stores beside it."""
    module = ImageClassifier(
        model=to_container(config.model),
        class_names=datamodule.class_names,
        preprocess=datamodule.preprocess.to_dict(),
        optimizer=to_container(config.optimizer),
        scheduler=to_container(config.scheduler),
        loss=resolve_loss(to_container(config.loss), datamodule),
        aliases=datamodule.options.rename_classes,
    )
    module.set_memory_format(MEMORY_FORMATS[config.compute.memory_format])
    if config.compute.compile:
        module.network.compile()
    return module


def build_trainer(config: Config, module: ImageClassifier, extra_callbacks: list[Callback]) -> Trainer:
    """The Trainer, with these callbacks before the configured ones, and loggers whose failures end no training."""
    callbacks = [*extra_callbacks, *instantiate_all(to_container(config.callbacks), Callback)]
    loggers: list[Logger] = [
        FaultTolerantLogger(logger) for logger in instantiate_all(to_container(config.logger), Logger)
    ]
    trainer = instantiate_trainer(to_container(config.trainer), module.network, callbacks=callbacks, logger=loggers)
    check_monitors(trainer, module)
    return trainer


def resolve_loss(loss: dict[str, Any], datamodule: ImageFolderDataModule) -> dict[str, Any]:
    """`class_weights=balanced` as numbers: rare classes weigh more, so that all count the same."""
    if loss["class_weights"] != "balanced":
        return loss
    counts = datamodule.class_counts["train"]
    return loss | {"class_weights": [sum(counts) / (len(counts) * count) for count in counts]}


def check_variable_size(model: Mapping[str, Any], sizes: Sequence[int] | None) -> Sequence[int]:
    """The sizes to train on; ConfigError if there are any and the network takes images of one size only."""
    if sizes and not getattr(import_target(model["_target_"]), "supports_variable_size", False):
        raise ConfigError(
            f"dataset.train_sizes={list(sizes)}: {model['_target_']} takes images of one size; "
            "expected a network that pools over the whole image and says so with supports_variable_size = True"
        )
    widths, stride = model.get("widths"), model.get("stem_stride", 1)
    if sizes and widths and min(sizes) // stride >> len(widths) < 1:
        min_size = stride << len(widths)
        raise ConfigError(
            f"dataset.train_sizes={list(sizes)}: too small for {len(widths)} blocks; expected at least {min_size} px"
        )
    return sizes or ()


def build_dataset_config(config: Config) -> DatasetConfig:
    """The data's options; images for a pretrained network are normalised as it knows them."""
    values = to_container(config.dataset)
    if is_pretrained(config.model):
        for key, default in mean_and_std(config.model.backbone).items():
            configured = values.get(key)
            values[key] = configured or (default if values.get("channels", 3) == 3 else [sum(default) / len(default)])
    return DatasetConfig(**values)
