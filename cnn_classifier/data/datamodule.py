"""The LightningDataModule: batches are slices of decoded images; augmentation and normalisation run on the device."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import Augmentation, normalize, to_float
from cnn_classifier.data.loading.device_loader import DeviceLoader, pixels_on_device
from cnn_classifier.data.loading.loader import Batch, BatchLoader
from cnn_classifier.data.loading.prepare import PreparedDataset, prepare_images
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.split import Splits


class ImageFolderDataModule(LightningDataModule):
    """Images of a scanned folder, split, decoded and fed in batches.

    Args:
        scan: What the folder holds.
        options: How it is split, sized and fed.
        augment: Transforms for training images, in order.
        seed: Decides the split, the order of every epoch and the augmentation of every step.
        sizes: Sides in pixels of the training images, one after the other; `options.image_size` throughout if empty.
    """

    def __init__(
        self,
        *,
        scan: DatasetIndex,
        options: DatasetConfig,
        augment: Sequence[nn.Module],
        seed: int,
        sizes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.scan, self.options, self.seed, self.sizes = scan, options, seed, sizes
        self.class_names = scan.class_names
        self.augment = Augmentation(augment, num_classes=len(scan.class_names))
        self.prepared: PreparedDataset | None = None
        self.resident: Tensor | None = None

    def setup(self, stage: str) -> None:
        self.decode()

    def decode(self) -> None:
        """Check, split and decode the images, or find them checked and decoded by an earlier run.

        Raises:
            DataError: If too many images cannot be read, or no split is possible.
        """
        if self.prepared is None:
            self.prepared = prepare_images(self.scan, self.options, self.seed)

    @property
    def ready(self) -> PreparedDataset:
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
            self.ready.store.get_rows([sample.path for sample in samples]),
            np.array([sample.label for sample in samples]),
            batch_size=int(self.options.batch_size),
            seed=self.seed,
            sampler=sampler,
            rank=self.trainer.global_rank if self.trainer is not None else 0,
            world_size=self.trainer.world_size if self.trainer is not None else 1,
        )

    def train_dataloader(self) -> BatchLoader | DeviceLoader:
        loader = self.loader("train", sampler=self.options.sampler)
        if self.trainer is not None:
            progress = self.trainer.fit_loop.epoch_loop.batch_progress
            loader.batches_done = lambda: progress.current.ready
        return self.near_device(loader)

    def files_of(self, epoch: int, batch: int) -> list[Path]:
        """The images of a batch of the training, both counted from 0."""
        loader = self.loader("train", sampler=self.options.sampler)
        loader.sampler.set_epoch(epoch)
        return [self.splits["train"][index].path for index in loader.batch_indices()[batch]]

    def val_dataloader(self) -> BatchLoader | DeviceLoader:
        return self.near_device(self.loader("val"))

    def near_device(self, loader: BatchLoader) -> BatchLoader | DeviceLoader:
        """The same batches from the memory of the GPU, or else from memory that it can fetch from as it computes."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if self.resident is None:
            self.resident = pixels_on_device(self.ready.store, device)
        if self.resident is not None:
            return DeviceLoader(loader, self.resident)
        loader.pin_memory = device.type == "cuda"
        return loader

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
            images, labels = self.augment(images, labels, self.train_size)
        return normalize(images, self.preprocess), labels

    @property
    def train_size(self) -> int:
        """Side in pixels of the training images of this epoch: each of `sizes` takes an equal part of the run."""
        if not self.sizes:
            return self.preprocess.image_size
        if self.trainer is None:
            raise RuntimeError("sizes are of the epochs of a training")
        epochs = self.trainer.max_epochs or 0
        if epochs < 1:
            return self.sizes[-1]
        to_come = max(epochs - 1 - self.trainer.current_epoch, 0)
        return self.sizes[-1 - to_come * len(self.sizes) // epochs]  # from the end: few epochs are of large images
