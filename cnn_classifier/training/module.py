"""The `LightningModule`: a network built from plain data, its loss, metrics, optimizer and schedule."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from cnn_classifier.config.instantiate import (
    check_trusted_hparams,
    instantiate_model,
    to_plain,
    without_pretrained_weights,
)
from cnn_classifier.config.trainer import PRECISIONS, UNSUPPORTED_PRECISIONS, check_name
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import normalize, to_float
from cnn_classifier.data.loading.loader import Batch
from cnn_classifier.errors import ConfigError
from cnn_classifier.lightning_internals import count_train_batches
from cnn_classifier.models import get_model_config
from cnn_classifier.models.feature_bank import FeatureBank
from cnn_classifier.training import optim
from cnn_classifier.training.callbacks.data_consistency import DataConsistency
from cnn_classifier.training.callbacks.plateau import PlateauStep
from cnn_classifier.training.callbacks.resume_state import PartialEpochMetrics
from cnn_classifier.training.callbacks.sync_buffers import SyncBuffers
from cnn_classifier.training.callbacks.unfreezing import Unfreezing
from cnn_classifier.training.checkpoints import checkpoint_header, find_checkpoint, read_checkpoint
from cnn_classifier.training.task import DEFAULT_LOSS, StageMetrics, build_loss


class ImageClassifier(LightningModule):
    """An image classifier that any `Trainer` trains. All arguments are plain data, stored in the checkpoint.

    Args:
        model: The network: a name such as `"cnn"`, or a mapping with `_target_` and constructor arguments.
        num_classes: The number of classes K; the length of `class_names` if not given.
        image_size: The side of the input images in pixels; required only by networks with a flattening head.
        channels: The number of image channels, 3 for RGB or 1 for grayscale.
        class_names: The name of each class; taken from the data module if not given.
        preprocess: A `Preprocess` or its `to_dict()`; taken from the data module if not given.
        optimizer: `_target_` and arguments of the optimizer.
        scheduler: `_target_` and arguments of the learning-rate schedule, and optionally `warmup_epochs` and `monitor`.
        loss: `label_smoothing` in [0, 1], and `class_weights`, a list of K values or None.
        aliases: Other names of classes that evaluation accepts as folder names, e.g. `{"cane": "dog"}`.

    Raises:
        ConfigError: If an argument is invalid.

    Example:
        >>> model = ImageClassifier("resnet", num_classes=10)
        >>> model(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] = "resnet",
        *,
        num_classes: int | None = None,
        image_size: int | None = None,
        channels: int = 3,
        class_names: Sequence[str] | None = None,
        preprocess: Preprocess | Mapping[str, Any] | None = None,
        optimizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        aliases: Mapping[str | int, str | int] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(preprocess, Preprocess):
            preprocess = preprocess.to_dict()
        num_classes = num_classes or len(class_names or ())
        if num_classes < 1:
            raise ConfigError("ImageClassifier requires num_classes or class_names")
        hparams: dict[str, Any] = {
            "model": get_model_config(model),
            "num_classes": num_classes,
            "image_size": preprocess["image_size"] if preprocess else image_size,
            "channels": preprocess["channels"] if preprocess else channels,
            "class_names": class_names,
            "preprocess": preprocess,
            "optimizer": optimizer or optim.DEFAULT_OPTIMIZER,
            "scheduler": scheduler or optim.DEFAULT_SCHEDULER,
            "loss": DEFAULT_LOSS | dict(loss or {}),
            "aliases": aliases,
        }
        self.save_hyperparameters(to_plain(hparams))
        self.class_names = list(class_names or map(str, range(num_classes)))
        self.aliases = aliases
        self.preprocess = Preprocess.from_dict(preprocess) if preprocess else None
        self.network = instantiate_model(
            hparams["model"], num_classes=num_classes, channels=hparams["channels"], image_size=hparams["image_size"]
        )
        self.set_memory_format(torch.channels_last)
        self.feature_bank: FeatureBank | None = None  # for out-of-distribution detection, after calibration
        self.criterion = build_loss(hparams["loss"], num_classes)
        self.train_metrics = StageMetrics(num_classes, names=("loss", "accuracy"))
        self.val_metrics, self.test_metrics = StageMetrics(num_classes), StageMetrics(num_classes)

    def set_memory_format(self, memory_format: torch.memory_format) -> None:
        """Store the weights and the inputs of the network in this memory format."""
        self.memory_format = memory_format
        self.network.to(memory_format=memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize images (B, C, H, W), uint8 or float in [0, 1], and compute logits (B, K)."""
        images = to_float(images) if images.dtype == torch.uint8 else images
        if self.preprocess is not None:
            images = normalize(images, self.preprocess)
        # The weights are float64 or bfloat16 with `precision="64-true"` or `"bf16-true"`.
        return self.network(images.to(self.dtype, memory_format=self.memory_format))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.criterion(logits, labels)
        # MixUp and CutMix turn labels into class probabilities.
        self.train_metrics.update(loss.detach(), logits, labels if labels.ndim == 1 else labels.argmax(1))
        self.log_metrics("train", self.train_metrics)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.eval_step(batch, "val", self.val_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.eval_step(batch, "test", self.test_metrics)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the class probabilities, shape (B, K)."""
        images = batch if isinstance(batch, Tensor) else batch[0]
        return self(images).softmax(dim=1)

    def eval_step(self, batch: Batch, stage: str, metrics: StageMetrics) -> None:
        """Update and log the metrics of a validation or test batch."""
        images, labels = batch
        logits = self(images)
        # Plain cross-entropy, so that runs with different smoothing or class weights can be compared.
        metrics.update(functional.cross_entropy(logits, labels, reduction="none"), logits, labels)
        self.log_metrics(stage, metrics)

    def log_metrics(self, stage: str, metrics: StageMetrics) -> None:
        """Log each metric as `stage/name`, once per epoch."""
        for name, metric in metrics.items():
            self.log(f"{stage}/{name}", metric, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        trainer = self.trainer
        check_name("precision", trainer.precision, PRECISIONS, UNSUPPORTED_PRECISIONS)
        optimizer = optim.build_optimizer(self.hparams["optimizer"], self.network)
        steps_per_epoch, total_steps = 1, 1.0  # if nothing is trained
        if trainer.limit_train_batches and trainer.max_steps:
            steps_per_epoch = math.ceil(count_train_batches(trainer) / trainer.accumulate_grad_batches)
            total_steps = trainer.estimated_stepping_batches  # infinite without a limit
        schedulers = optim.build_schedulers(
            self.hparams["scheduler"], optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps
        )
        return [optimizer], schedulers

    def configure_callbacks(self) -> list[Callback]:
        return [DataConsistency(), Unfreezing(), PartialEpochMetrics(), SyncBuffers(), PlateauStep()]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        optim.clip_gradients(self.trainer.precision_plugin, optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cnn_classifier"] = checkpoint_header()

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, *, trusted: Sequence[str] = (), **kwargs: Any
    ) -> "ImageClassifier":
        """Load a checkpoint of any `Trainer`, on the CPU unless `map_location` is given.

        Args:
            checkpoint_path: The checkpoint file, or a run directory.
            trusted: Import prefixes of network classes of your own that the checkpoint may name.
            kwargs: Further arguments of `LightningModule.load_from_checkpoint`.

        Raises:
            CheckpointError: If the file is missing, damaged or of another class, or names an untrusted class.
        """
        hparams = read_checkpoint(checkpoint_path)["hyper_parameters"]
        check_trusted_hparams(hparams, trusted)
        model = without_pretrained_weights(hparams["model"])
        options: dict[str, Any] = {"map_location": "cpu", "weights_only": True, "model": model}
        return super().load_from_checkpoint(find_checkpoint(checkpoint_path), **options | kwargs)
