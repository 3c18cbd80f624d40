"""The LightningDataModule: batches are slices of decoded images; augmentation and normalisation run on the device."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from cnn_classifier.data.augment import augmentation, normalise, to_float
from cnn_classifier.data.cache import ImageStore, image_store
from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.split import require_every_class, split_samples
from cnn_classifier.errors import DataError

Batch = tuple[Tensor, Tensor]
Indices = npt.NDArray[np.int64]


class EpochOrder:
    """The order of an epoch, derived from (seed, epoch) alone; Lightning calls `set_epoch`."""

    def __init__(self, size: int, *, seed: int, shuffle: bool) -> None:
        self.size, self.seed, self.shuffle, self.epoch = size, seed, shuffle, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def indices(self) -> Indices:
        if not self.shuffle:
            return np.arange(self.size)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.size)


class BatchLoader:
    """Batches of images uint8 (B, C, H, W) and labels int64 (B,), sliced from a store in an epoch's order.

    The store keeps channels last, and so do the batches' strides: convolutions are faster that way.

    Training leaves out the last, smaller batch: batch normalisation cannot learn from a single image, and the order
    of the next epoch leaves out others.
    """

    batch_sampler = None  # Lightning looks for it beside `sampler`, whose epoch it sets

    def __init__(
        self, images: ImageStore, samples: Indices, labels: Tensor, *, batch_size: int, order: EpochOrder
    ) -> None:
        self.images, self.samples, self.labels, self.batch_size, self.sampler = (
            images,
            samples,
            labels,
            batch_size,
            order,
        )

    def __len__(self) -> int:
        whole, rest = divmod(len(self.samples), self.batch_size)
        return whole if whole and self.sampler.shuffle else whole + (rest > 0)

    def __iter__(self) -> Iterator[Batch]:
        order = self.sampler.indices()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            pixels = torch.from_numpy(self.images[self.samples[chosen]])
            yield pixels.permute(0, 3, 1, 2), self.labels[chosen]


class ImageFolderDataModule(LightningDataModule):
    """Images of a scanned folder, split, decoded and fed in batches.

    Args:
        scan: What the folder holds.
        options: How it is split, sized and fed.
        augment: Transforms for training images, in order.
        seed: Decides the split, the order of every epoch and the augmentation of every step.

    Raises:
        DataError: If no split is possible.
    """

    def __init__(self, *, scan: Scan, options: DatasetOptions, augment: Sequence[nn.Module], seed: int) -> None:
        super().__init__()
        self.class_names = scan.class_names
        self.preprocess = options.preprocess
        self.seed = seed
        self.augment = augmentation(augment)
        self.batch_size = options.batch_size
        self.options = options
        self.splits = split_samples(scan, options, seed)
        self.unreadable: dict[Path, str] = {}
        self.images: ImageStore | None = None

    def setup(self, stage: str) -> None:
        if self.images is None:
            self.decode()

    def decode(self) -> None:
        """Open the images' pixels, decoding what is not packed yet, and leave unreadable images out of the splits.

        Raises:
            DataError: If no image can be read, or none of a class.
        """
        # Sorted, so that runs with other seeds or folds find the same packed pixels.
        paths = sorted(sample.path for samples in self.splits.values() for sample in samples)
        cache, limit = self.options.cache, self.options.cache_limit_gb
        self.images = image_store(paths, self.preprocess, cache=cache, cache_limit_gb=limit)
        self.index = {path: index for index, path in enumerate(paths)}
        self.unreadable = {paths[index]: reason for index, reason in self.images.unreadable.items()}
        if len(self.unreadable) == len(paths):
            reason = self.unreadable[paths[0]]
            raise DataError(f"none of the {len(paths)} images can be read; the first is {paths[0]}: {reason}")
        for split, samples in self.splits.items():
            self.splits[split] = [sample for sample in samples if sample.path not in self.unreadable]
        require_every_class(self.splits, self.class_names)

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

    def loader(self, split: str, *, shuffle: bool = False) -> BatchLoader:
        """Batches of one split, in the order of its samples unless shuffled."""
        samples: list[Sample] = self.splits[split]
        if self.images is None:
            raise RuntimeError("decode() comes before loader()")
        return BatchLoader(
            self.images,
            np.array([self.index[sample.path] for sample in samples]),
            torch.tensor([sample.label for sample in samples]),
            batch_size=self.batch_size,
            order=EpochOrder(len(samples), seed=self.seed, shuffle=shuffle),
        )

    def train_dataloader(self) -> BatchLoader:
        return self.loader("train", shuffle=True)

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
