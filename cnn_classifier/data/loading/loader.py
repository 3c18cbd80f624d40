"""Batch loading by slicing an image store, in an order derived from the seed and the epoch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from cnn_classifier.data.loading.epochs import get_epoch_size
from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.parallel import batch_slices, training_slices
from cnn_classifier.errors import ConfigError
from cnn_classifier.lightning_internals import count_epochs

Batch = tuple[Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class EpochSampler:
    """A sampler whose order is derived from (seed, epoch) alone; Lightning calls `set_epoch`.

    Args:
        labels: The label of each sample, shape (N,).
        seed: The seed of the order.
        mode: None for sequential order; `shuffle` for a random permutation; `balanced` for the same number of samples
            of every class, which repeats samples of rare classes and takes a different subset of frequent classes in
            each epoch. Not None means training.
        rank: The rank of this process. Each rank receives a disjoint part of every training batch.
        world_size: The number of processes.
        is_fixed: Whether all epochs have the order of the first, as `Trainer(overfit_batches=...)` requires.
    """

    def __init__(
        self,
        labels: Indices,
        *,
        seed: int,
        mode: str | None,
        rank: int = 0,
        world_size: int = 1,
        is_fixed: bool = False,
    ) -> None:
        self.labels, self.seed, self.mode, self.epoch = labels, seed, mode, 0
        self.rank, self.world_size, self.is_fixed = rank, world_size, is_fixed

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order `indices` returns."""
        self.epoch = 0 if self.is_fixed else epoch

    def num_batches(self, batch_size: int) -> int:
        """Return the number of batches of an epoch, which is the same on all ranks in training."""
        if self.mode is None:
            return -(-len(range(self.rank, len(self.labels), self.world_size)) // batch_size)
        return len(training_slices(len(self.labels), batch_size, self.world_size))

    def batches(self, batch_size: int) -> list[Indices]:
        """Return the indices of each batch of this rank.

        In training, the batches of all ranks together equal the batch of one process with a batch size multiplied by
        `world_size`; see `training_slices`.
        """
        order = self.indices()
        if self.mode is None:
            own = order[self.rank :: self.world_size]
            return [own[batch] for batch in batch_slices(len(own), batch_size)]
        batches = training_slices(len(order), batch_size, self.world_size)
        return [order[batch][self.rank :: self.world_size] for batch in batches]

    def indices(self) -> Indices:
        """Return the indices of all ranks in the order of the epoch."""
        if self.mode is None:
            return np.arange(len(self.labels))
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.mode == "shuffle":
            return generator.permutation(len(self.labels))
        classes = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        num_per_class = -(-len(self.labels) // len(classes))
        sampled = [
            np.concatenate([generator.permutation(members) for _ in range(-(-num_per_class // len(members)))])[
                :num_per_class
            ]
            for members in classes
        ]
        return generator.permutation(np.concatenate(sampled))[: len(self.labels)]


class BatchLoader:
    """A loader of batches of images, uint8 (B, C, H, W), and labels, int64 (B,).

    The images have channels-last strides, because the store is channels last and convolutions are faster with it.

    In training, `training_slices` divides the images into batches.

    Args:
        images: The image store.
        rows: The row of each sample in the store, shape (N,).
        labels: The label of each sample, shape (N,).
        batch_size: The number of images per batch.
        seed: The seed of the order of every epoch.
        sampler: The `mode` of `EpochSampler`. Not None means training.
        rank: The rank of this process.
        world_size: The number of processes.
        batches_done: A function that returns the number of batches of the epoch that were processed before the run was
            interrupted. It is called at the start of each epoch.
    """

    pin_memory = False  # set for GPUs, which copy page-locked memory asynchronously
    batch_sampler = None  # Lightning reads this attribute before it calls `sampler.set_epoch`

    def __init__(
        self,
        images: ImageStore,
        rows: Indices,
        labels: Indices,
        *,
        batch_size: int,
        seed: int = 0,
        sampler: str | None = None,
        rank: int = 0,
        world_size: int = 1,
        batches_done: Callable[[], int] = lambda: 0,
    ) -> None:
        self.batches_done = batches_done
        self.images, self.rows, self.labels, self.batch_size = images, rows, labels, batch_size
        self.sampler = EpochSampler(labels, seed=seed, mode=sampler, rank=rank, world_size=world_size)

    def __len__(self) -> int:
        return self.sampler.num_batches(self.batch_size)

    def batch_indices(self) -> list[Indices]:
        """Return the sample indices of each batch of the epoch."""
        return self.sampler.batches(self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.batch_indices()[self.batches_done() :]
        pixel_batches = self.images.iter_batches(self.rows[indices] for indices in batches)
        for indices, pixels in zip(batches, pixel_batches, strict=False):
            batch = torch.from_numpy(pixels), torch.from_numpy(self.labels[indices])
            images, labels = (tensor.pin_memory() for tensor in batch) if self.pin_memory else batch
            yield images.permute(0, 3, 1, 2), labels


def is_overfitting(trainer: Trainer | None) -> bool:
    """Return whether `Trainer(overfit_batches=...)` asks for the same images, without augmentation, in every epoch."""
    return trainer is not None and bool(trainer.overfit_batches)  # type: ignore[attr-defined]


def check_batch_limits(trainer: Trainer, **batches: int) -> None:
    """Check the limits that depend on the number of batches, which Lightning checks after the run has started.

    Args:
        trainer: The `Trainer`.
        batches: The number of batches of each split, `train` and `val`.

    Raises:
        ConfigError: If a fraction is less than one batch, or `val_check_interval` is longer than an epoch.
    """
    options, used = vars(trainer), {}
    for split, count in batches.items():
        name = "overfit_batches" if is_overfitting(trainer) else f"limit_{split}_batches"
        limit = options[name]
        if isinstance(limit, float) and 0 < limit * count < 1:
            raise ConfigError(
                f"trainer.{name}={limit} is less than one of the {count} {split} batches; set a number of batches, "
                f"such as trainer.{name}=1"
            )
        used[split] = min(count, limit) if isinstance(limit, int) else int(count * limit)
    interval = options.get("val_check_interval")
    is_per_epoch = trainer.check_val_every_n_epoch is not None and used["val"] > 0
    if is_per_epoch and isinstance(interval, int) and interval > used["train"]:
        raise ConfigError(
            f"trainer.val_check_interval={interval} is longer than an epoch of {used['train']} batches; add "
            "trainer.check_val_every_n_epoch=null to count batches over all epochs"
        )


def get_train_size(sizes: Sequence[int], trainer: Trainer) -> int:
    """Return the side of the training images of the current epoch in pixels, see `get_epoch_size`.

    Args:
        sizes: The sides in pixels, in the order of their use.
        trainer: The `Trainer`, for the number of epochs and the current one.
    """
    return get_epoch_size(sizes, trainer.current_epoch, count_epochs(trainer))
