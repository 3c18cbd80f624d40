"""Batches without a DataLoader: slices of a store of pixels, in an order that a seed and an epoch decide."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cnn_classifier.data.store import ImageStore

Batch = tuple[Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class EpochOrder:
    """The order of an epoch, derived from (seed, epoch) alone; Lightning calls `set_epoch`.

    Args:
        labels: The class of each sample.
        seed: What else decides the order.
        sampler: None for the order of the samples; `shuffle` for each once; `balanced` for as many of every class,
            those of rare classes several times and those of frequent ones by turns.
        rank: Of this process; every process has another part of the order.
        world_size: How many processes there are.
    """

    def __init__(self, labels: Indices, *, seed: int, sampler: str | None, rank: int = 0, world_size: int = 1) -> None:
        self.labels, self.seed, self.sampler, self.epoch = labels, seed, sampler, 0
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.end, self.world_size))

    @property
    def end(self) -> int:
        """How many samples all processes have: in training each as many, or they would wait for each other."""
        return len(self.labels) // self.world_size * self.world_size if self.sampler else len(self.labels)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Indices:
        """Of this process: together, a step's batches are what one process would see in a larger batch."""
        return self.all_indices()[: self.end][self.rank :: self.world_size]

    def all_indices(self) -> Indices:
        if self.sampler is None:
            return np.arange(len(self.labels))
        random = np.random.default_rng([self.seed, self.epoch])
        if self.sampler == "shuffle":
            return random.permutation(len(self.labels))
        classes = [np.flatnonzero(self.labels == label) for label in np.unique(self.labels)]
        quota = -(-len(self.labels) // len(classes))
        drawn = [
            np.concatenate([random.permutation(members) for _ in range(-(-quota // len(members)))])[:quota]
            for members in classes
        ]
        return random.permutation(np.concatenate(drawn))[: len(self.labels)]


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

    pinned = False  # a GPU fetches batches from page-locked memory while it computes
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
        done: Callable[[], int] = lambda: 0,
    ) -> None:
        self.done = done
        self.images, self.rows, self.labels, self.batch_size = images, rows, labels, batch_size
        self.sampler = EpochOrder(labels, seed=seed, sampler=sampler, rank=rank, world_size=world_size)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole if whole and self.sampler.sampler else whole + (rest > 0)

    def chosen(self) -> list[Indices]:
        """The samples of each batch of the epoch."""
        order = self.sampler.indices()
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)][: len(self)]

    def __iter__(self) -> Iterator[Batch]:
        batches = self.chosen()[self.done() :]
        pixels = self.images.batches(self.rows[chosen] for chosen in batches)
        for chosen, images in zip(batches, pixels, strict=False):
            batch = torch.from_numpy(images), torch.from_numpy(self.labels[chosen])
            uint8, labels = (part.pin_memory() for part in batch) if self.pinned else batch
            yield uint8.permute(0, 3, 1, 2), labels
