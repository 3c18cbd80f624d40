"""The LightningModule: a network described by plain data, one step, and its optimiser."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from cnn_classifier import __version__
from cnn_classifier.config.instantiate import instantiate
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.loader import Batch
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.feature_bank import FeatureBank
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.optim import build_optimizer, build_schedulers

CHECKPOINT_FORMAT = 2  # 1 was not sealed
# What is logged: whatever a callback or a schedule may monitor.
METRICS = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/f1_macro")


class ImageClassifier(LightningModule):
    """Everything that a checkpoint stores: plain data to rebuild the network, and its weights.

    Args:
        model: `_target_` and arguments of the network; it is given `num_classes`, `channels` and `image_size`.
        class_names: Name of each class; the length of the logits.
        preprocess: `Preprocess.as_dict()`: how an image file becomes the network's input.
        optimizer: `_target_` and arguments; needed to train only.
        scheduler: `_target_`, arguments, `warmup_epochs` and perhaps `monitor`; needed to train only.
        loss: `label_smoothing` and `class_weights`, one a class or None; needed to train only.
        aliases: Folders that name a class otherwise, `{cane: dog}`, so that evaluation understands them too.
    """

    def __init__(
        self,
        *,
        model: Mapping[str, Any],
        class_names: Sequence[str],
        preprocess: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        loss: Mapping[str, Any],
        aliases: Mapping[str | int, str | int] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.class_names = list(class_names)
        self.aliases = aliases
        self.preprocess = Preprocess.from_dict(preprocess)
        num_classes = len(self.class_names)
        self.network: nn.Module = instantiate(
            model,
            nn.Module,
            num_classes=num_classes,
            channels=self.preprocess.channels,
            image_size=self.preprocess.image_size,
        )
        self.set_memory_format(torch.channels_last)
        self.feature_bank: FeatureBank | None = None  # known after a training, which does without
        weights = loss["class_weights"]
        if weights is not None and len(weights) != num_classes:
            raise ConfigError(f"loss.class_weights={list(weights)}: expected {num_classes} values, one a class")
        self.criterion = nn.CrossEntropyLoss(
            weight=None if weights is None else torch.tensor(weights, dtype=torch.float32),
            label_smoothing=loss["label_smoothing"],
        )
        # validate_args reads values back from the device in every step.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self.val_loss = MeanMetric(nan_strategy="disable")  # a diverged loss must be seen
        self.val_accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        self.val_f1_macro = MulticlassF1Score(num_classes, average="macro", validate_args=False)

    def set_memory_format(self, memory_format: torch.memory_format) -> None:
        """Keep weights and images in memory in this order."""
        self.memory_format = memory_format
        self.network.to(memory_format=memory_format)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) -> logits (B, K)."""
        # float64 or bfloat16 under `precision=…-true`
        return self.network(images.to(self.dtype, memory_format=self.memory_format))

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # of an epoch that is gone on with, nobody tells the start

    def on_train_epoch_start(self) -> None:
        if isinstance(self.network, FineTunable):  # parts of it rest at first
            epochs = self.trainer.max_epochs or 0
            self.network.set_progress(self.current_epoch / epochs if epochs > 0 else 1.0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self(images)
        loss = self.criterion(logits, labels)
        self.train_loss(loss.detach())
        self.train_accuracy(logits, labels if labels.ndim == 1 else labels.argmax(1))  # mixed images have shares
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True)
        self.log("train/accuracy", self.train_accuracy, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Schedule by a metric, so that what is saved of this epoch has that done."""
        for scheduler_config in self.trainer.lr_scheduler_configs:
            value = self.trainer.callback_metrics.get(str(scheduler_config.monitor))
            if isinstance(scheduler_config.scheduler, ReduceLROnPlateau) and value is not None:
                scheduler_config.scheduler.step(value)

    def on_validation_epoch_start(self) -> None:
        if self.trainer.world_size > 1:  # norms have seen other images in every process; the first one's are kept
            for buffer in self.network.buffers():
                distributed.broadcast(buffer, 0)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        logits = self(images)
        # Plain cross-entropy, so that runs with other smoothing or weights can be compared.
        self.val_loss(functional.cross_entropy(logits, labels, reduction="none"))  # batches differ in size
        self.val_accuracy(logits, labels)
        self.val_f1_macro(logits, labels)
        self.log("val/loss", self.val_loss)
        self.log("val/accuracy", self.val_accuracy)
        self.log("val/f1_macro", self.val_f1_macro)

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self.hparams["optimizer"], self.network)
        self.trainer.fit_loop.setup_data()  # counts the batches
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        estimated_steps = self.trainer.estimated_stepping_batches
        if math.isinf(estimated_steps) and "total_steps" in self.hparams["scheduler"]:
            raise ConfigError("scheduler: one cycle needs an end; give trainer.max_epochs, or scheduler=constant")
        total_steps = int(min(estimated_steps, 2**62))
        return [optimizer], build_schedulers(
            self.hparams["scheduler"], optimizer, steps_per_epoch=steps_per_epoch, total_steps=total_steps
        )

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients of fused optimizers too, which Lightning refuses in mixed precision.

        Lightning refuses because a fused optimizer unscales float16 gradients inside its step, after the clipping.
        Unscaling first is always valid: the scaler remembers it. bfloat16 has no scaler.
        """
        precision = self.trainer.precision_plugin
        scaler = getattr(precision, "scaler", None)
        if not gradient_clip_val:
            return
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            scaler.unscale_(optimizer)
        if gradient_clip_algorithm == "value":
            precision.clip_grad_by_value(optimizer, gradient_clip_val)
        else:
            precision.clip_grad_by_norm(optimizer, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["cnn_classifier"] = {"format": CHECKPOINT_FORMAT, "version": __version__}
        if not self.trainer.is_last_batch:
            checkpoint["epoch_so_far"] = {
                name: self.reduce_metric_state(metric) for name, metric in self.resumable_metrics()
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.global_rank > 0:  # the first process goes on with what all of them have measured
            return
        for name, metric in self.resumable_metrics():
            for state, value in checkpoint.get("epoch_so_far", {}).get(name, {}).items():
                setattr(metric, state, value.to(metric.device))

    def reduce_metric_state(self, metric: Metric) -> dict[str, Tensor]:
        """The state of a metric that sums."""
        states = {name: torch.as_tensor(value).clone() for name, value in metric.metric_state.items()}
        return {name: self.trainer.strategy.reduce(value, reduce_op="sum") for name, value in states.items()}

    def resumable_metrics(self) -> list[tuple[str, Metric]]:
        """What is measured in training: an epoch that is gone on with has measured some of it."""
        return [("train_loss", self.train_loss), ("train_accuracy", self.train_accuracy)]
