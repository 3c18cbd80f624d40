"""Batches without a DataLoader: slices of a store of pixels, in an order that a seed and an epoch decide."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnn_classifier.data.loading.image_store import ImageStore

Batch = tuple[Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class EpochSampler:
    """The order of an epoch, derived from (seed, epoch) alone; Lightning calls `set_epoch`.

    Args:
        labels: The class of each sample.
        seed: What else decides the order.
        sampler: None for the order of the samples; `shuffle` for each once; `balanced` for as many of every class,
            those of rare classes several times and those of frequent ones by turns.
        rank: Of this process; every process has another part of the order.
        world_size: How many processes there are.
    """

    def __init__(self, labels: Indices, *, seed: int, mode: str | None, rank: int = 0, world_size: int = 1) -> None:
        self.labels, self.seed, self.mode, self.epoch = labels, seed, mode, 0
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.total_size, self.world_size))

    @property
    def total_size(self) -> int:
        """How many samples all processes have: in training each as many, or they would wait for each other."""
        return len(self.labels) // self.world_size * self.world_size if self.mode else len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Indices:
        """Of this process: together, a step's batches are what one process would see in a larger batch."""
        return self.global_indices()[: self.total_size][self.rank :: self.world_size]

    def global_indices(self) -> Indices:
        if self.mode is None:
            return np.arange(len(self.labels))
        generator = np.random.default_rng([self.seed, self.epoch])
        if self.mode == "shuffle":
            return generator.permutation(len(self.labels))
        classes = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        quota = -(-len(self.labels) // len(classes))
        sampled = [
            np.concatenate([generator.permutation(members) for _ in range(-(-quota // len(members)))])[:quota]
            for members in classes
        ]
        return generator.permutation(np.concatenate(sampled))[: len(self.labels)]


class BatchLoader:
    """Batches of images uint8 (B, C, H, W) and labels int64 (B,), sliced from a store in an epoch's order.

    The store keeps channels last, and so do the batches' strides: convolutions are faster that way.

    Training leaves out the last, smaller batch: batch normalisation cannot learn from a single image, and the order
    of the next epoch leaves out others.

    Args:
        images: The store.
        rows: Each sample's row in it.
        labels: Each sample's class.
        batch_size: Images a batch.
        seed: Decides the order of every epoch.
        sampler: As for `EpochOrder`.
        rank: Likewise.
        world_size: Likewise.
        done: How many batches of the epoch were seen before the run was interrupted; asked when an epoch begins.
    """

    pin_memory = False  # a GPU fetches batches from page-locked memory while it computes
    batch_sampler = None  # Lightning looks for it beside `sampler`, whose epoch it sets

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
        """The samples of each batch of the epoch."""
        order = self.sampler.indices()
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)][: len(self)]

    def __iter__(self) -> Iterator[Batch]:
        batches = self.batch_indices()[self.batches_done() :]
        pixel_batches = self.images.iter_batches(self.rows[indices] for indices in batches)
        for indices, pixels in zip(batches, pixel_batches, strict=False):
            batch = torch.from_numpy(pixels), torch.from_numpy(self.labels[indices])
            images, labels = (part.pin_memory() for part in batch) if self.pin_memory else batch
            yield images.permute(0, 3, 1, 2), labels
