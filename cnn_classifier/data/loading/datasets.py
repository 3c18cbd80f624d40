"""Map-style datasets of (image, label), such as `torchvision.datasets.ImageFolder`, as samples and pixels."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from torch import Tensor
from torchvision.datasets import ImageFolder
from tqdm import tqdm

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.loading.image_store import Rows
from cnn_classifier.data.loading.prepare import PreparedDataset, measure_mean_std, prepare_images
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.groups import merge_linked
from cnn_classifier.data.splits.split import Splits, check_class_coverage, shuffle_key, split_fraction
from cnn_classifier.errors import DataError, UnreadableImageError


class MapDataset(Protocol):
    """A dataset with a length whose items are (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Any, Any]: ...


def index_datasets(datasets: Mapping[str, MapDataset]) -> DatasetIndex:
    """List the samples of datasets by split.

    Samples of an `ImageFolder` have the path of their file, others a path made of split and position.

    Args:
        datasets: A dataset for each of `train`, `val` and `test` that exists.

    Raises:
        DataError: If the datasets have different classes, or a label is not a class index.
    """
    labels = {split: read_labels(dataset, split) for split, dataset in datasets.items()}
    num_classes = max(max(values, default=0) for values in labels.values()) + 1
    known_names = [list(names) for dataset in datasets.values() if (names := getattr(dataset, "classes", None))]
    if any(names != known_names[0] for names in known_names):
        raise DataError(f"The datasets have different classes: {known_names}; use the same classes in all splits.")
    class_names = [str(name) for name in known_names[0]] if known_names else [str(k) for k in range(num_classes)]
    if num_classes > len(class_names):
        raise DataError(f"Label {num_classes - 1} is not one of the {len(class_names)} classes of the dataset.")
    samples = [
        Sample(path, label, split)
        for split, dataset in datasets.items()
        for path, label in zip(get_paths(dataset, split), labels[split], strict=True)
    ]
    return DatasetIndex(Path(getattr(datasets["train"], "root", "")), samples, class_names, Counter())


def read_labels(dataset: MapDataset, split: str) -> list[int]:
    """Return the class index of each item, from `targets` if the dataset has them, else by reading every item.

    Raises:
        DataError: If a label is not an integer from 0.
    """
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != len(dataset):
        items = tqdm(range(len(dataset)), desc=f"labels of {split}", disable=None, leave=False)
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
        DataError: If an item is not an image, or a class is missing in training or validation.
    """
    splits: Splits = {split: [s for s in index.samples if s.split == split] for split in ("train", "val", "test")}
    if not splits["val"]:
        samples = sorted(splits["train"], key=shuffle_key(index.root, seed))
        splits["train"], splits["val"] = split_fraction(merge_linked(samples, []), config.val_fraction)
    check_class_coverage({split: samples for split, samples in splits.items() if samples}, index.class_names)
    if all(is_plain_image_folder(dataset) for dataset in datasets.values()):
        return prepare_images(index, config, seed, given_splits=splits)
    items = {path: (d, i) for split, d in datasets.items() for i, path in enumerate(get_paths(d, split))}
    store = DatasetImages(items, config.preprocess)
    preprocess = measure_mean_std(config, store, [sample.path for sample in splits["train"]])
    return PreparedDataset({}, splits, store, preprocess)


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
