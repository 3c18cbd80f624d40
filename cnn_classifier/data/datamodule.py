"""The `LightningDataModule`: uint8 batches sliced from decoded images; augmentation runs on the device."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.augment import Augmentation, get_preset, to_float
from cnn_classifier.data.loading.datasets import MapDataset, index_datasets, prepare_datasets
from cnn_classifier.data.loading.device_loader import DeviceLoader, pixels_on_device
from cnn_classifier.data.loading.loader import Batch, BatchLoader, get_train_size, is_overfitting
from cnn_classifier.data.loading.prepare import PreparedDataset, prepare_folder, prepare_images
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.data.splits.split import Splits
from cnn_classifier.errors import ConfigError
from cnn_classifier.lightning_internals import global_batch_index, num_batches_done


class ImageFolderDataModule(LightningDataModule):
    """Images in class folders, split, decoded once, and served in batches.

    The constructor does no I/O: the first access to `class_names` scans the folder, `prepare_data` decodes.

    Args:
        root: A folder with one folder per class, or with `train`, `val` and `test` folders of them.
        image_size: The side of the square images in pixels.
        batch_size: The number of images per batch and process.
        augment: A preset ("none", "light", "strong", "no_flip"), or torchvision v2 transforms of images in [0, 1].
        val_fraction, test_fraction: The fractions of all images for splits that have no folder.
        seed: The seed of the order of each epoch and the augmentation of each step; `split_seed` is that of the split.
        predict_dir: A folder of images for `Trainer.predict`; the test split if not given.
        index: A scanned dataset; the folder is scanned if not given.
        options: Values of `DatasetConfig`, such as `source`, `train_dir`, `channels` or `folds`.

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
        unresolved = [key for key in ("image_size", "batch_size", "train_sizes") if values[key] == AUTO]
        if unresolved:
            raise ConfigError(f"{unresolved[0]}=auto is resolved by train() only; set a value")
        values |= {"root": None if root is None else str(root)}
        self.config = DatasetConfig(val_fraction=val_fraction, test_fraction=test_fraction, **values)
        self.image_size, self.batch_size, self.seed, self.predict_dir = image_size, batch_size, seed, predict_dir
        self.transforms = get_preset(augment) if isinstance(augment, str) else list(augment)
        self._index, self._datasets = index, dict[str, MapDataset]()

    @classmethod
    def from_datasets(  # type: ignore[override]
        cls, train: MapDataset, val: MapDataset | None = None, test: MapDataset | None = None, **arguments: Any
    ) -> "ImageFolderDataModule":
        """Wrap map-style datasets of (image, label), e.g. `torchvision.datasets.ImageFolder`.

        An `ImageFolder` without transforms is decoded once. Other datasets are read in every epoch, since their
        transforms may be random.

        Args:
            train: The training data: PIL images, uint8 arrays (H, W, C), or tensors (C, H, W), uint8 or in [0, 1].
            val: The validation data; a stratified `val_fraction` of the training data if not given.
            test: The test data; `Trainer.test` requires it.
            arguments: As for the constructor, such as `image_size`, `batch_size`, `augment` and `seed`.
        """
        datamodule = cls(**arguments)
        datasets = {"train": train, "val": val, "test": test}
        datamodule._datasets = {split: dataset for split, dataset in datasets.items() if dataset is not None}
        return datamodule

    @cached_property
    def index(self) -> DatasetIndex:
        """The files of the dataset and their classes; the first access scans the source."""
        return self._index or (index_datasets(self._datasets) if self._datasets else scan_source(self.config))

    @cached_property
    def prepared(self) -> PreparedDataset:
        """The checked, split and decoded dataset; the first access prepares it."""
        split_seed = self.seed if self.config.split_seed is None else self.config.split_seed
        if self._datasets:
            return prepare_datasets(self._datasets, self.index, self.config, split_seed)
        return prepare_images(self.index, self.config, split_seed)

    @property
    def class_names(self) -> list[str]:
        """The names of the classes, which labels index."""
        return self.index.class_names

    @property
    def num_classes(self) -> int:
        """The number of classes K."""
        return len(self.class_names)

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing, with mean and standard deviation of the training images."""
        return self.prepared.preprocess

    @property
    def splits(self) -> Splits:
        """The samples of train, val and test."""
        return self.prepared.splits

    @property
    def class_counts(self) -> dict[str, list[int]]:
        """The number of images of each class, for each split."""
        labels = {split: [sample.label for sample in samples] for split, samples in self.splits.items()}
        return {split: np.bincount(values, minlength=self.num_classes).tolist() for split, values in labels.items()}

    def prepare_data(self) -> None:
        """Download, check and decode the images, or find them in the cache of an earlier run."""
        is_new = "prepared" not in vars(self)
        if (notes := self.prepared.summary["notes"]) and is_new and self.trainer is not None:
            rank_zero_warn(" ".join(notes))

    def setup(self, stage: str) -> None:
        transforms = [] if is_overfitting(self.trainer) else self.transforms
        self.augmentation = Augmentation(transforms, num_classes=self.num_classes)

    def train_dataloader(self) -> BatchLoader | DeviceLoader:
        loader = self.build_loader("train", sampler=self.config.sampler)
        if (trainer := self.trainer) is not None:
            loader.batches_done = lambda: num_batches_done(trainer)
        return self._on_device(loader)

    def val_dataloader(self) -> BatchLoader | DeviceLoader | list[Any]:
        return self._on_device(self.build_loader("val")) if self.splits["val"] else []  # skips the validation

    def test_dataloader(self) -> BatchLoader | DeviceLoader:
        return self._on_device(self.build_loader("test"))

    def predict_dataloader(self) -> BatchLoader | DeviceLoader:
        if self.predict_dir is None:
            return self.test_dataloader()
        return prepare_folder(self.predict_dir, self.preprocess, batch_size=self.batch_size)

    def build_loader(self, split: str, *, sampler: str | None = None) -> BatchLoader:
        """Build a loader of one split; without a sampler, in the order of its samples."""
        samples = self.splits.get(split)
        if not samples:
            raise ConfigError(f"There are no images for the {split} split; pass a {split} dataset or folder.")
        store = self.prepared.store
        rows, labels = store.get_rows([sample.path for sample in samples]), np.array([s.label for s in samples])
        loader = BatchLoader(store, rows, labels, batch_size=self.batch_size, seed=self.seed, sampler=sampler)
        loader.sampler.is_fixed = is_overfitting(self.trainer)
        if self.trainer is not None:
            loader.sampler.rank, loader.sampler.world_size = self.trainer.global_rank, self.trainer.world_size
        return loader

    def _on_device(self, loader: BatchLoader) -> BatchLoader | DeviceLoader:
        """Return a loader of the same batches from GPU memory, or else from page-locked memory."""
        loader.pin_memory = self._device.type == "cuda"
        return loader if self._device_pixels is None else DeviceLoader(loader, self._device_pixels)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer is not None else torch.device("cpu")

    @cached_property
    def _device_pixels(self) -> Tensor | None:
        return pixels_on_device(self.prepared.store, self._device)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Convert to float in [0, 1] and, in training, augment; the module normalizes."""
        images, labels = to_float(batch[0]), batch[1]
        if self.trainer is not None and self.trainer.training:
            # Augmentation and dropout of a step depend on (seed, step, rank) only: exact resuming needs the position.
            position = (self.seed, global_batch_index(self.trainer) + 1, self.trainer.global_rank)
            torch.manual_seed(int(np.random.SeedSequence(position).generate_state(1)[0]))
            images, labels = self.augmentation(images, labels, self.train_size)
        return images, labels

    @property
    def train_size(self) -> int:
        """The side of the training images of this epoch in pixels, see `get_train_size`."""
        sizes = self.config.train_sizes
        return self.image_size if self.trainer is None or not sizes else get_train_size(list(sizes), self.trainer)  # type: ignore[arg-type]
