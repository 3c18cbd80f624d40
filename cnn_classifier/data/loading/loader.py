"""Batch loading by slicing an image store, in an order derived from the seed and the epoch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from cnn_classifier.data.loading.image_store import ImageStore
from cnn_classifier.data.parallel import batch_slices

Batch = tuple[Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class EpochSampler:
    """A sampler whose order is derived from (seed, epoch) alone; Lightning calls `set_epoch`.

    Args:
        labels: The label of each sample, shape (N,).
        seed: The seed of the order.
        mode: None for sequential order; `shuffle` for a random permutation; `balanced` for the same number of samples
            of every class, which repeats samples of rare classes and takes a different subset of frequent classes in
            each epoch.
        rank: The rank of this process. Each rank receives a disjoint part of the order.
        world_size: The number of processes.
    """

    def __init__(self, labels: Indices, *, seed: int, mode: str | None, rank: int = 0, world_size: int = 1) -> None:
        self.labels, self.seed, self.mode, self.epoch = labels, seed, mode, 0
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.total_size, self.world_size))

    @property
    def total_size(self) -> int:
        """The number of samples over all ranks; in training a multiple of `world_size`, so that no rank waits."""
        return len(self.labels) // self.world_size * self.world_size if self.mode else len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch whose order `indices` returns."""
        self.epoch = epoch

    def indices(self) -> Indices:
        """Return the indices of this rank.

        In each step, the batches of all ranks together equal the batch of one process with a batch size multiplied by
        `world_size`.
        """
        return self.global_indices()[: self.total_size][self.rank :: self.world_size]

    def global_indices(self) -> Indices:
        """Return the indices of all ranks."""
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

    In training the last batch is dropped if it is incomplete, because batch normalization requires more than one image
    per batch; other samples are dropped in the next epoch. A single incomplete batch is not dropped.

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
        num_full, remainder = divmod(len(self.sampler), self.batch_size)
        return num_full if num_full and self.sampler.mode else num_full + (remainder > 0)

    def batch_indices(self) -> list[Indices]:
        """Return the sample indices of each batch of the epoch."""
        order = self.sampler.indices()
        return [order[batch] for batch in batch_slices(len(order), self.batch_size)][: len(self)]

    def __iter__(self) -> Iterator[Batch]:
        batches = self.batch_indices()[self.batches_done() :]
        pixel_batches = self.images.iter_batches(self.rows[indices] for indices in batches)
        for indices, pixels in zip(batches, pixel_batches, strict=False):
            batch = torch.from_numpy(pixels), torch.from_numpy(self.labels[indices])
            images, labels = (tensor.pin_memory() for tensor in batch) if self.pin_memory else batch
            yield images.permute(0, 3, 1, 2), labels


def get_train_size(sizes: Sequence[int], trainer: Trainer) -> int:
    """Return the side of the training images of the current epoch in pixels, for progressive resizing.

    Each size takes an equal part of the epochs, the last ones first: short runs use mostly the largest.

    Args:
        sizes: The sides in pixels, in the order of their use.
        trainer: The `Trainer`, for the number of epochs and the current one.
    """
    epochs = trainer.max_epochs or 0
    if epochs < 1:
        return int(sizes[-1])
    remaining = max(epochs - 1 - trainer.current_epoch, 0)
    return int(sizes[-1 - remaining * len(sizes) // epochs])
