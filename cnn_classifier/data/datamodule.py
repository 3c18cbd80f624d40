"""The `LightningDataModule`: uint8 batches sliced from decoded images; augmentation runs on the device."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn

from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import Augmentation, get_preset, to_float
from cnn_classifier.data.loading.datasets import MapDataset, index_datasets, prepare_datasets
from cnn_classifier.data.loading.device_loader import DeviceLoader, pixels_on_device
from cnn_classifier.data.loading.loader import Batch, BatchLoader
from cnn_classifier.data.loading.prepare import PreparedDataset, prepare_folder, prepare_images
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.errors import ConfigError
from cnn_classifier.lightning_internals import global_batch_index, num_batches_done


class ImageFolderDataModule(LightningDataModule):
    """Images in class folders, split, decoded once, and served in batches.

    The constructor does no I/O. The first access to `num_classes` or `class_names` scans the folder; `prepare_data`
    checks and decodes the images.

    Args:
        root: A folder with one folder per class, or with `train`, `val` and `test` folders of them. Archives, URLs and CSV
            files are given as `source` instead.
        image_size: The side of the square images in pixels.
        batch_size: The number of images per batch and process.
        augment: The name of a preset ("none", "light", "strong", "no_flip"), or a list of torchvision v2 transforms for
            float images (B, C, H, W) in [0, 1].
        val_fraction: The fraction of all images for validation, if there is no folder for it.
        test_fraction: The fraction of all images for testing, if there is no folder for it.
        seed: The seed of the split, of the order of each epoch, and of the augmentation of each step.
        predict_dir: A folder of images for `Trainer.predict`; the test split if not given.
        index: A scanned dataset; `root` or `source` is scanned if not given.
        options: Further values of `DatasetConfig`, such as `train_dir`, `channels`, `resize` or `folds`.

    Raises:
        ConfigError: If a value is invalid, or `auto`, which only `train` resolves.

    Example:
        >>> data = ImageFolderDataModule("photos", image_size=128, batch_size=32, augment="light")
    """

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        image_size: int = 128,
        batch_size: int = 32,
        augment: str | Sequence[nn.Module] = "light",
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        seed: int = 1,
        predict_dir: str | Path | None = None,
        index: DatasetIndex | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        values = {"train_sizes": None} | options | {"image_size": image_size, "batch_size": batch_size}
        unresolved = [key for key, value in values.items() if value == AUTO and key != "cache"]
        if unresolved:
            raise ConfigError(f"{unresolved[0]}=auto is resolved by train() only; set a value")
        self.config = DatasetConfig(
            root=None if root is None else str(root), val_fraction=val_fraction, test_fraction=test_fraction, **values
        )
        self.seed, self.predict_dir = seed, predict_dir
        self.transforms = get_preset(augment) if isinstance(augment, str) else list(augment)
        self._index = index
        self._prepared: PreparedDataset | None = None
        self._datasets: Mapping[str, MapDataset] | None = None
        self._device_pixels: Tensor | None = None

    @classmethod
    def from_datasets(  # type: ignore[override]
        cls, train: MapDataset, val: MapDataset | None = None, test: MapDataset | None = None, **arguments: Any
    ) -> "ImageFolderDataModule":
        """Wrap map-style datasets of (image, label).

        A `torchvision.datasets.ImageFolder` without transforms is decoded once. Other datasets are read in every epoch,
        since their transforms may be random.

        Args:
            train: The training data. An image is a PIL image, a uint8 array (H, W) or (H, W, C), or a tensor (C, H, W),
                uint8 or float in [0, 1]. Class names are taken from its `classes`, if it has them.
            val: The validation data; a stratified `val_fraction` of the training data if not given.
            test: The test data; `Trainer.test` requires it.
            arguments: As for the constructor, such as `image_size`, `batch_size`, `augment` and `seed`.

        Raises:
            DataError: If an item is not an image with a class index.
        """
        datasets = {name: dataset for name, dataset in (("train", train), ("val", val), ("test", test)) if dataset}
        datamodule = cls(**arguments)
        datamodule._datasets = datasets
        return datamodule

    @property
    def index(self) -> DatasetIndex:
        """The files of the dataset and their classes; the first access scans the source."""
        if self._index is None:
            self._index = index_datasets(self._datasets) if self._datasets else scan_source(self.config)
        return self._index

    @property
    def class_names(self) -> list[str]:
        """The names of the classes; a label is an index into them."""
        return self.index.class_names

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.class_names)

    @property
    def image_size(self) -> int:
        """The side of the square images in pixels."""
        return int(self.config.image_size)

    @property
    def prepared(self) -> PreparedDataset:
        """The checked, split and decoded dataset; the first access prepares it."""
        if self._prepared is None:
            self._prepared = (
                prepare_datasets(self._datasets, self.index, self.config, self.seed)
                if self._datasets
                else prepare_images(self.index, self.config, self.seed)
            )
        return self._prepared

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing, with mean and standard deviation of the training images."""
        return self.prepared.preprocess

    @property
    def splits(self) -> Splits:
        """The samples of train, val and test."""
        return self.prepared.splits

    @property
    def summary(self) -> dict[str, Any]:
        """The result of the data check, as plain values."""
        return self.prepared.summary

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """The number of images of each class, for each split."""
        return {
            split: np.bincount([s.label for s in samples], minlength=self.num_classes).tolist()
            for split, samples in self.splits.items()
        }

    def prepare_data(self) -> None:
        """Download, check and decode the images, or find them in the cache of an earlier run.

        Raises:
            DataError: If too many images cannot be read, or no split is possible.
        """
        _ = self.prepared

    def setup(self, stage: str) -> None:
        """Open the decoded images; other ranks find them in the cache that `prepare_data` filled."""
        _ = self.prepared
        self.augmentation = Augmentation(self.transforms, num_classes=self.num_classes)

    def train_dataloader(self) -> BatchLoader | DeviceLoader:
        loader = self.build_loader("train", sampler=self.config.sampler)
        if self.trainer is not None:
            trainer = self.trainer
            loader.batches_done = lambda: num_batches_done(trainer)
        return self._on_device(loader)

    def val_dataloader(self) -> BatchLoader | DeviceLoader:
        return self._on_device(self.build_loader("val"))

    def test_dataloader(self) -> BatchLoader | DeviceLoader:
        return self._on_device(self.build_loader("test"))

    def predict_dataloader(self) -> BatchLoader | DeviceLoader:
        if self.predict_dir is None:
            return self.test_dataloader()
        return prepare_folder(self.predict_dir, self.preprocess, batch_size=int(self.config.batch_size))

    def build_loader(self, split: str, *, sampler: str | None = None) -> BatchLoader:
        """Build a loader of one split, in the order of its samples if no sampler is given.

        Raises:
            ConfigError: If the split is empty.
        """
        samples = self.splits.get(split)
        if not samples:
            raise ConfigError(f"There are no images for the {split} split; pass a {split} dataset or folder.")
        return BatchLoader(
            self.prepared.store,
            self.prepared.store.get_rows([sample.path for sample in samples]),
            np.array([sample.label for sample in samples]),
            batch_size=int(self.config.batch_size),
            seed=self.seed,
            sampler=sampler,
            rank=self.trainer.global_rank if self.trainer is not None else 0,
            world_size=self.trainer.world_size if self.trainer is not None else 1,
        )

    def get_batch_paths(self, epoch: int, batch: int) -> list[Path]:
        """Return the image files of a training batch; epoch and batch are counted from 0."""
        loader = self.build_loader("train", sampler=self.config.sampler)
        loader.sampler.set_epoch(epoch)
        return [self.splits["train"][index].path for index in loader.batch_indices()[batch]]

    def _on_device(self, loader: BatchLoader) -> BatchLoader | DeviceLoader:
        """Return a loader of the same batches that slices them in GPU memory, or else in page-locked memory."""
        device = self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")
        if self._device_pixels is None:
            self._device_pixels = pixels_on_device(self.prepared.store, device)
        if self._device_pixels is not None:
            return DeviceLoader(loader, self._device_pixels)
        loader.pin_memory = device.type == "cuda"
        return loader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert to float in [0, 1] and, in training, augment; the module normalizes."""
        images, labels = batch
        images = to_float(images)
        if self.trainer is not None and self.trainer.training:
            # Augmentation and dropout of a step depend on (seed, step, rank) only, so that resuming exactly needs
            # only the position.
            position = (self.seed, global_batch_index(self.trainer) + 1, self.trainer.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))
            images, labels = self.augmentation(images, labels, self.train_size)
        return images, labels

    @property
    def train_size(self) -> int:
        """The side of the training images of this epoch in pixels; each of `train_sizes` takes an equal part of the run."""
        sizes = self.config.train_sizes
        if not isinstance(sizes, Sequence) or not sizes or self.trainer is None:
            return self.image_size
        epochs = self.trainer.max_epochs or 0
        if epochs < 1:
            return int(sizes[-1])
        remaining = max(epochs - 1 - self.trainer.current_epoch, 0)
        return int(sizes[-1 - remaining * len(sizes) // epochs])  # counted from the end: few epochs use large images
