"""The LightningDataModule: batches are slices of decoded images; augmentation and normalisation run on the device."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from cnn_classifier.data.augment import augmentation, normalise, to_float
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.prepare import PreparedImages, prepare
from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.data.split import Splits
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
    """

    def __init__(self, labels: Indices, *, seed: int, sampler: str | None) -> None:
        self.labels, self.seed, self.sampler, self.epoch = labels, seed, sampler, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Indices:
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
    """

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
    ) -> None:
        self.images, self.rows, self.labels, self.batch_size = images, rows, labels, batch_size
        self.sampler = EpochOrder(labels, seed=seed, sampler=sampler)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole if whole and self.sampler.sampler else whole + (rest > 0)

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.indices()
        batches = [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
        pixels = self.images.batches(self.rows[chosen] for chosen in batches[: len(self)])
        for chosen, images in zip(batches, pixels, strict=False):
            yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(self.labels[chosen])


class ImageFolderDataModule(LightningDataModule):
    """Images of a scanned folder, split, decoded and fed in batches.

    Args:
        scan: What the folder holds.
        options: How it is split, sized and fed.
        augment: Transforms for training images, in order.
        seed: Decides the split, the order of every epoch and the augmentation of every step.
    """

    def __init__(self, *, scan: Scan, options: DatasetOptions, augment: Sequence[nn.Module], seed: int) -> None:
        super().__init__()
        self.scan, self.options, self.seed = scan, options, seed
        self.class_names = scan.class_names
        self.augment = augmentation(augment)
        self.prepared: PreparedImages | None = None

    def setup(self, stage: str) -> None:
        self.decode()

    def decode(self) -> None:
        """Check, split and decode the images, or find them checked and decoded by an earlier run.

        Raises:
            DataError: If too many images cannot be read, or no split is possible.
        """
        if self.prepared is None:
            self.prepared = prepare(self.scan, self.options, self.seed)

    @property
    def ready(self) -> PreparedImages:
        """What `decode` made."""
        if self.prepared is None:
            raise RuntimeError("decode() comes first")
        return self.prepared

    @property
    def preprocess(self) -> Preprocess:
        """How files become pixels, mean and standard deviation included."""
        return self.ready.preprocess

    @property
    def splits(self) -> Splits:
        """The samples of train, val and test."""
        return self.ready.splits

    @property
    def summary(self) -> dict[str, Any]:
        """What the check of the data found, as plain values."""
        return self.ready.summary

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """For each split, the number of images of each class."""
        return {
            split: np.bincount([s.label for s in samples], minlength=len(self.class_names)).tolist()
            for split, samples in self.splits.items()
        }

    @property
    def paths(self) -> dict[str, list[Path]]:
        """For each split, its files, in the order of `loader(split)`."""
        return {split: [sample.path for sample in samples] for split, samples in self.splits.items()}

    def loader(self, split: str, *, sampler: str | None = None) -> BatchLoader:
        """Batches of one split, in the order of its samples unless a sampler says otherwise."""
        samples = self.splits[split]
        return BatchLoader(
            self.ready.store,
            self.ready.store.rows([sample.path for sample in samples]),
            np.array([sample.label for sample in samples]),
            batch_size=self.options.batch_size,
            seed=self.seed,
            sampler=sampler,
        )

    def train_dataloader(self) -> BatchLoader:
        return self.loader("train", sampler=self.options.sampler)

    def val_dataloader(self) -> BatchLoader:
        return self.loader("val")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (in training) and normalise, on the device."""
        images, labels = batch
        images = to_float(images)
        if self.trainer is not None and self.trainer.training:
            # Augmentation and dropout of a step depend on (seed, step, rank) alone, so that a resumed run
            # needs only its position to go on as if it had never stopped.
            position = (
                self.seed,
                self.trainer.fit_loop.epoch_loop.total_batch_idx + 1,
                self.trainer.global_rank,
            )
            torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))
            images = self.augment(images)
        return normalise(images, self.preprocess), labels
