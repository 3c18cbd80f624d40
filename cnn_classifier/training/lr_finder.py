"""Which learning rate: raise it from step to step, and watch where the loss falls fastest (arXiv:1506.01186)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from lightning.pytorch import seed_everything
from torch import nn
from tqdm import tqdm

from cnn_classifier.auto.resolve import resolve_auto
from cnn_classifier.config.compose import Config, to_container
from cnn_classifier.config.instantiate import instantiate_all
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.loading.augment import normalize, to_float
from cnn_classifier.data.loading.loader import Batch, BatchLoader
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import DataError
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.training.build import build_dataset_config, build_module
from cnn_classifier.training.checkpoints import read_checkpoint
from cnn_classifier.training.devices import resolve_device, tune_malloc
from cnn_classifier.training.environment import ignore_known_warnings
from cnn_classifier.training.module import ImageClassifier
from cnn_classifier.training.optim import build_optimizer
from cnn_classifier.training.resume import apply_resume, init_weights

# From and up to these shares of the rate that a training would take.
MIN_LR_FACTOR, MAX_LR_FACTOR = 1e-3, 30.0
DIVERGENCE_FACTOR = 3.0  # times the best loss: from there on it only rises
SMOOTHING = 0.9  # of the losses, as an exponential moving average


@dataclass(frozen=True)
class LRFinderResult:
    """What was found.

    Args:
        rates: The learning rate of each step.
        losses: Smoothed, after each step.
        usual: What a training takes without further words.
        found: Where the loss falls fastest.
    """

    lrs: Sequence[float]
    losses: Sequence[float]
    default_lr: float
    suggested_lr: float


def find_lr(config: Config, scan: DatasetIndex, *, steps: int = 100) -> LRFinderResult:
    """Train for some steps, each with a higher rate; nothing is written, and weights are thrown away.

    Args:
        config: Of the training; with `resume` it begins with the weights of that checkpoint.
        scan: The images.
        steps: How many, at most.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint cannot be used.
    """
    ignore_known_warnings()
    tune_malloc()
    ckpt_path = apply_resume(config)
    resolve_auto(config, scan)
    seed_everything(config.seed, verbose=False)
    augment = instantiate_all(to_container(config.augment), nn.Module)
    datamodule = ImageFolderDataModule(
        scan=scan, options=build_dataset_config(config), augment=augment, seed=config.seed
    )
    datamodule.decode()
    module = build_module(config, datamodule)
    init_weights(module, ckpt_path)
    if ckpt_path is not None:
        module.load_state_dict(read_checkpoint(ckpt_path)["state_dict"])
    default_lr = float(config.optimizer.lr)
    lrs = [
        default_lr * MIN_LR_FACTOR * (MAX_LR_FACTOR / MIN_LR_FACTOR) ** (step / max(steps - 1, 1))
        for step in range(steps)
    ]
    image_size = max(to_container(config.dataset.train_sizes) or [datamodule.preprocess.image_size])
    losses = lr_range_test(
        module, datamodule, lrs, image_size=image_size, device=resolve_device(config.trainer.accelerator)
    )
    return LRFinderResult(lrs[: len(losses)], losses, default_lr, steepest_lr(lrs, losses))


def lr_range_test(
    module: ImageClassifier,
    datamodule: ImageFolderDataModule,
    lrs: Sequence[float],
    *,
    image_size: int,
    device: torch.device,
) -> list[float]:
    """The smoothed loss after a step with each of these rates, until it only rises."""
    module.to(device).train()
    if isinstance(module.network, FineTunable):
        module.network.set_progress(0.5)  # what learns in the middle of a training
    optimizer = build_optimizer(dict(module.hparams["optimizer"]), module.network)
    lr_multipliers = [group["lr"] / module.hparams["optimizer"]["lr"] for group in optimizer.param_groups]
    loader = datamodule.loader("train", sampler="shuffle")
    progress_bar = tqdm(lrs, disable=None, leave=False)
    ema_loss = 0.0
    losses: list[float] = []
    for step, (lr, (images, labels)) in enumerate(zip(progress_bar, iterate_epochs(loader), strict=False)):
        inputs, targets = datamodule.augment(to_float(images.to(device)), labels.to(device), image_size)
        for group, lr_multiplier in zip(optimizer.param_groups, lr_multipliers, strict=True):
            group["lr"] = lr * lr_multiplier
        loss = module.criterion(module(normalize(inputs, datamodule.preprocess)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema_loss = SMOOTHING * ema_loss + (1 - SMOOTHING) * loss.item()
        losses.append(ema_loss / (1 - SMOOTHING ** (step + 1)))
        if not math.isfinite(losses[-1]) or losses[-1] > DIVERGENCE_FACTOR * min(losses):
            return losses[:-1]
    return losses


def iterate_epochs(loader: BatchLoader) -> Iterator[Batch]:
    """The batches of one epoch after the other, each in its own order."""
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        yield from loader


def steepest_lr(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss falls fastest over the logarithm of the rate, before it is lowest.

    Raises:
        DataError: If it never falls.
    """
    end = losses.index(min(losses)) if losses else 0
    window = max(1, len(losses) // 10)  # single batches tell little, and the first losses are of few
    indices = range(len(losses) // 10 + window, end)
    if not indices:
        raise DataError("the loss does not fall at any rate; check the labels, or give more --steps")
    return lrs[min(indices, key=lambda place: losses[min(place + window, end)] - losses[place - window])]
