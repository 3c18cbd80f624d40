"""Which learning rate: raise it from step to step, and watch where the loss falls fastest (arXiv:1506.01186)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch
from lightning.pytorch import seed_everything
from torch import nn
from tqdm import tqdm

from cnn_classifier.auto import dataset_options, settle
from cnn_classifier.build import build_all
from cnn_classifier.checkpoint import read_checkpoint
from cnn_classifier.config import Config, plain
from cnn_classifier.data.augment import normalise, to_float
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.loader import Batch, BatchLoader
from cnn_classifier.errors import DataError
from cnn_classifier.hardware import device_of, keep_freed_memory
from cnn_classifier.models.staged import Staged
from cnn_classifier.module import ImageClassifier
from cnn_classifier.optim import build_optimizer
from cnn_classifier.quiet import silence_remarks
from cnn_classifier.resume import begin_weights, take_up
from cnn_classifier.train import build_module

# From and up to these shares of the rate that a training would take.
LOWEST, HIGHEST = 1e-3, 30.0
HOPELESS = 3.0  # times the best loss: from there on it only rises
SMOOTHING = 0.9  # of the losses, as an exponential moving average


@dataclass(frozen=True)
class RateTest:
    """What was found.

    Args:
        rates: The learning rate of each step.
        losses: Smoothed, after each step.
        usual: What a training takes without further words.
        found: Where the loss falls fastest.
    """

    rates: Sequence[float]
    losses: Sequence[float]
    usual: float
    found: float


def find_rate(config: Config, scan: Scan, *, steps: int = 100) -> RateTest:
    """Train for some steps, each with a higher rate; nothing is written, and weights are thrown away.

    Args:
        config: Of the training; with `resume` it begins with the weights of that checkpoint.
        scan: The images.
        steps: How many, at most.

    Raises:
        ClassifierError: If the configuration, the data or a checkpoint cannot be used.
    """
    silence_remarks()
    keep_freed_memory()
    resumed = take_up(config)
    settle(config, scan)
    seed_everything(config.seed, verbose=False)
    augment = build_all(plain(config.augment), nn.Module)
    data = ImageFolderDataModule(scan=scan, options=dataset_options(config), augment=augment, seed=config.seed)
    data.decode()
    module = build_module(config, data)
    begin_weights(module, resumed)
    if resumed is not None:
        module.load_state_dict(read_checkpoint(resumed)["state_dict"])
    usual = float(config.optimizer.lr)
    rates = [usual * LOWEST * (HIGHEST / LOWEST) ** (step / max(steps - 1, 1)) for step in range(steps)]
    size = max(plain(config.trainer.sizes) or [data.preprocess.image_size])
    losses = raised(module, data, rates, size=size, device=device_of(config.trainer.accelerator))
    return RateTest(rates[: len(losses)], losses, usual, steepest(rates, losses))


def raised(
    module: ImageClassifier,
    data: ImageFolderDataModule,
    rates: Sequence[float],
    *,
    size: int,
    device: torch.device,
) -> list[float]:
    """The smoothed loss after a step with each of these rates, until it only rises."""
    module.to(device).train()
    if isinstance(module.network, Staged):
        module.network.begin_epoch(0.5)  # what learns in the middle of a training
    optimizer = build_optimizer(dict(module.hparams["optimizer"]), module.network)
    shares = [group["lr"] / module.hparams["optimizer"]["lr"] for group in optimizer.param_groups]
    loader = data.loader("train", sampler="shuffle")
    shown = tqdm(rates, disable=None, leave=False)
    mean = 0.0
    losses: list[float] = []
    for step, (rate, (images, labels)) in enumerate(zip(shown, epochs_of(loader), strict=False)):
        changed, targets = data.augment(to_float(images.to(device)), labels.to(device), size)
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        loss = module.criterion(module(normalise(changed, data.preprocess)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss.item()
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
        if not math.isfinite(losses[-1]) or losses[-1] > HOPELESS * min(losses):
            return losses[:-1]
    return losses


def epochs_of(loader: BatchLoader) -> Iterator[Batch]:
    """The batches of one epoch after the other, each in its own order."""
    for epoch in count():
        loader.sampler.set_epoch(epoch)
        yield from loader


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """The rate at which the loss falls fastest over the logarithm of the rate, before it is lowest.

    Raises:
        DataError: If it never falls.
    """
    end = losses.index(min(losses)) if losses else 0
    window = max(1, len(losses) // 10)  # single batches tell little, and the first losses are of few
    places = range(len(losses) // 10 + window, end)
    if not places:
        raise DataError("the loss does not fall at any rate; check the labels, or give more --steps")
    return rates[min(places, key=lambda place: losses[min(place + window, end)] - losses[place - window])]
