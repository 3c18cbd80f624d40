"""Map-style datasets of (image, label), such as `torchvision.datasets.ImageFolder`, as samples and pixels."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder

from cnn_classifier.data.checks.value_range import combine_limits, describe_value_range
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Pixels, Preprocess, is_wide_array
from cnn_classifier.data.images.wide import ValueRange, WideImage, read_wide
from cnn_classifier.data.loading.image_store import Rows
from cnn_classifier.data.loading.prepare import PreparedDataset, measure_mean_std, prepare_images
from cnn_classifier.data.sources.class_names import keep_trained_classes
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.coverage import leave_out_untrained_classes
from cnn_classifier.data.splits.groups import merge_linked
from cnn_classifier.data.splits.split import Splits, shuffle_key, split_fraction
from cnn_classifier.errors import DataError, UnreadableImageError
from cnn_classifier.progress import progress_bar

# This many evenly spaced images of a dataset that is read every epoch determine the range of values.
MAX_RANGE_IMAGES = 256


class MapDataset(Protocol):
    """A dataset with a length whose items are (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, Any]: ...


def index_datasets(datasets: Mapping[str, MapDataset]) -> DatasetIndex:
    """List the samples of datasets by split; classes are equal if their names are.

    Samples of an `ImageFolder` have the path of their file, others a path made of split and position.

    Args:
        datasets: A dataset for each of `train`, `val` and `test` that exists.

    Raises:
        DataError: If a label is not a class index.
    """
    labels = {split: read_labels(dataset, split) for split, dataset in datasets.items()}
    known_names = next((names for d in datasets.values() if (names := getattr(d, "classes", None))), None)
    default_names = known_names or range(max(max(values, default=0) for values in labels.values()) + 1)
    names = {split: [str(n) for n in getattr(d, "classes", None) or default_names] for split, d in datasets.items()}
    for split, values in labels.items():
        if max(values, default=0) >= len(names[split]):
            raise DataError(
                f"Label {max(values)} is not one of the {len(names[split])} classes of the {split} dataset."
            )
    class_names = list(dict.fromkeys(name for split in datasets for name in names[split]))
    label_by_name = {name: label for label, name in enumerate(class_names)}
    samples = [
        Sample(path, label_by_name[names[split][label]], split)
        for split, dataset in datasets.items()
        for path, label in zip(get_paths(dataset, split), labels[split], strict=True)
    ]
    root = Path(getattr(datasets["train"], "root", ""))
    return keep_trained_classes(DatasetIndex(root, samples, class_names, Counter()))


def read_labels(dataset: MapDataset, split: str) -> list[int]:
    """Return the class index of each item, from `targets` if the dataset has them, else by reading every item.

    Raises:
        DataError: If a label is not an integer from 0.
    """
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        items = progress_bar(range(len(dataset)), f"labels of {split}")
        targets = [dataset[position][1] for position in items]
    labels = []
    for position, target in enumerate(targets):
        try:
            label = int(target)
        except (TypeError, ValueError):
            label = -1
        if label < 0 or label != target:
            raise DataError(
                f"Item {position} of the {split} dataset has label {target!r}; expected a class index from 0."
            )
        labels.append(label)
    return labels


def get_paths(dataset: MapDataset, split: str) -> list[Path]:
    """Return the files of a plain `ImageFolder`, and otherwise a path that identifies each item."""
    if is_plain_image_folder(dataset):
        return [Path(path) for path, _ in dataset.samples]  # type: ignore[attr-defined]
    return [Path(split, str(position)) for position in range(len(dataset))]


def is_plain_image_folder(dataset: MapDataset) -> bool:
    """Return whether a dataset is an `ImageFolder` that applies no transform."""
    return type(dataset) is ImageFolder and cast(ImageFolder, dataset).transforms is None


def prepare_datasets(
    datasets: Mapping[str, MapDataset], index: DatasetIndex, config: DatasetConfig, seed: int
) -> PreparedDataset:
    """Split and open datasets; plain image folders are checked and decoded once.

    Raises:
        DataError: If an item is not an image.
    """
    splits: Splits = {split: [s for s in index.samples if s.split == split] for split in ("train", "val", "test")}
    if not splits["val"] and config.val_fraction:
        samples = sorted(splits["train"], key=shuffle_key(index.root, seed))
        splits["train"], splits["val"] = split_fraction(merge_linked(samples, []), config.val_fraction)
    if all(is_plain_image_folder(dataset) for dataset in datasets.values()):
        return prepare_images(index, config, seed, given_splits=splits)
    splits, notes = leave_out_untrained_classes(splits, index.class_names)
    items = {path: (d, i) for split, d in datasets.items() for i, path in enumerate(get_paths(d, split))}
    train_paths = [sample.path for sample in splits["train"]]
    limits = measure_limits([items[path] for path in train_paths[:: max(1, len(train_paths) // MAX_RANGE_IMAGES)]])
    config = replace(config, value_range=config.value_range or combine_limits(limits))
    store = DatasetImages(items, config.preprocess)
    preprocess = measure_mean_std(config, store, train_paths)
    notes += describe_value_range(limits, preprocess.value_range)
    return PreparedDataset({"notes": [*index.notes, *notes]}, splits, store, preprocess)


def measure_limits(items: Iterable[tuple[MapDataset, int]]) -> list[ValueRange | None]:
    """Return the limits of the values of each item that is an image; None for an image with 8 bits per channel."""
    limits: list[ValueRange | None] = []
    for dataset, position in items:
        wide, image = None, dataset[position][0]
        if isinstance(image, Image.Image):
            wide = read_wide(image)
        elif isinstance(image, Tensor | np.ndarray) and not (isinstance(image, Tensor) and image.is_floating_point()):
            array = tensor_to_array(image) if isinstance(image, Tensor) else image
            wide = WideImage(array) if is_wide_array(array) else None
        limits.append(wide.limits() if wide else None)
    return limits


class DatasetImages:
    """The pixels of map-style datasets, read each time.

    Args:
        items: The dataset and position of each item, by path.
        preprocess: The image size, channels and resize mode.
    """

    def __init__(self, items: Mapping[Path, tuple[MapDataset, int]], preprocess: Preprocess) -> None:
        self.items, self.preprocess = list(items.values()), preprocess
        self.row_by_path = {path: row for row, path in enumerate(items)}

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_by_path[path] for path in paths], np.int64)

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        for batch_rows in rows:
            yield np.stack([self.load(*self.items[row]) for row in batch_rows])

    def load(self, dataset: MapDataset, position: int) -> Pixels:
        """Read one item as uint8 (image_size, image_size, channels).

        Raises:
            DataError: If the item is not an image.
        """
        image = dataset[position][0]
        try:
            return self.preprocess.load(tensor_to_array(image) if isinstance(image, Tensor) else image)
        except UnreadableImageError as error:
            raise DataError(f"Item {position} of the dataset: {error}") from error


def tensor_to_array(image: Tensor) -> Pixels:
    """Convert an image tensor (C, H, W), uint8 or float in [0, 1], to a uint8 array (H, W, C).

    Raises:
        DataError: If float values are outside [0, 1].
    """
    if image.is_floating_point():
        if image.numel() and not (image.min() >= 0 and image.max() <= 1):
            raise DataError(
                f"Image tensors must be in [0, 1], got {image.min():.3g} to {image.max():.3g}; "
                "remove Normalize from the dataset's transforms, since the module normalizes."
            )
        image = (image * 255).round().byte()
    return image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
