"""Callbacks that compare a training with a hand-written loop, and measure the time to its first step."""

import copy
import os
import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional

from cnn_classifier.data.loading.augment import normalize, to_float
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.optim import build_optimizer

Step = Any


class LoopComparison(Callback):
    """A `Callback` that repeats each epoch in a hand-written loop, and runs as many steps on one batch.

    It prints the images per second of the training, the loop and the single batch.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.start_time = synchronized_time()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.is_last_batch:
            self.training_seconds = synchronized_time() - self.start_time

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        step = build_manual_step(trainer, pl_module)
        loader = datamodule.train_dataloader()
        getattr(loader, "loader", loader).batches_done = lambda: 0  # Lightning's counter is at the end of the epoch
        loader.sampler.set_epoch(trainer.current_epoch)

        start_time, num_correct, total_loss = synchronized_time(), torch.zeros((), device=pl_module.device), 0.0
        for images, labels in loader:
            images, labels = images.to(pl_module.device), labels.to(pl_module.device)
            augmented, labels = datamodule.augmentation(to_float(images), labels, datamodule.train_size)
            loss, logits = step(normalize(augmented, datamodule.preprocess), labels)
            num_correct += (logits.argmax(1) == labels).sum()
            total_loss = total_loss + loss.detach()
        manual_seconds = synchronized_time() - start_time

        images = normalize(to_float(images), datamodule.preprocess)
        start_time = synchronized_time()
        for _ in range(len(loader)):
            step(images, labels)
        synthetic_seconds = synchronized_time() - start_time
        images_per_epoch = len(loader) * loader.batch_size
        print(
            "images/s",
            *(
                f"{images_per_epoch / seconds:.2f}"
                for seconds in (self.training_seconds, manual_seconds, synthetic_seconds)
            ),
        )


class FirstStep(Callback):
    """A `Callback` that prints the seconds from the start of the process to the end of the first step, and exits.

    Args:
        since: The start time of the process.
    """

    def __init__(self, *, since: float) -> None:
        self.since = since

    def on_train_batch_end(self, *_: Any) -> None:
        print(f"first step {time.time() - self.since:.3f}", flush=True)
        os._exit(0)


def build_manual_step(trainer: Trainer, module: ImageClassifier) -> Step:
    """Return a training step without Lightning, with a copy of the network, its optimizer and its precision."""
    network = copy.deepcopy(module.network).train()
    optimizer = build_optimizer(module.hparams["optimizer"], network)
    is_mixed = trainer.precision == "bf16-mixed"

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = images.to(memory_format=module.memory_format)
        with torch.autocast(module.device.type, dtype=torch.bfloat16, enabled=is_mixed):
            logits = network(images)
            loss = functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss, logits

    return step


def synchronized_time() -> float:
    """Return the time after all queued work on the device has finished."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()
