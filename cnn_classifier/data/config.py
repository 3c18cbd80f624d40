"""The config group `dataset`: source, split, preprocessing and loading of the images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from cnn_classifier.data import AUTO
from cnn_classifier.data.archives.name_encoding import is_name_encoding
from cnn_classifier.data.images.preprocess import RESIZE_POLICIES, Preprocess
from cnn_classifier.errors import ConfigError

TABLE_SUFFIXES = (".csv", ".tsv")
CACHE_MODES = ("auto", "ram", "disk", "none")
SAMPLERS = ("shuffle", "balanced")
UNREADABLE_POLICIES = ("skip", "error")
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The values of the config group `dataset`, checked without importing torch.

    Args:
        name: The name of the dataset in the run directory and the report.
        source: The source if `root` is not given: a folder, a zip or tar archive, a CSV file with the columns
            `path,label[,split][,group]`, the https URL of an archive, a list of these, or `digits`.
        checksum: The checksum of a download, `sha256:HEX` or `md5:HEX`; one for each source.
        mirror: The URL of a folder with the downloads under their file names, used instead of the original.
        homepage: The web page of the dataset, for downloads that need a login.
        zip_encoding: The encoding of the names in zip and tar archives that do not declare it, such as `gbk` or
            `cp866`; `auto` detects it.
        root: A folder with one folder per class, or with `train`, `val` and `test` folders of them; the folder of the
            images if `source` is a CSV file.
        train_dir: The folder of the training images, relative to `root`, if it has another name.
        val_dir: The folder of the validation images, likewise.
        test_dir: The folder of the test images, likewise.
        rename_classes: New class names by folder name, e.g. `{cane: dog}`; YAML reads a name such as 0 as a number.
        group_pattern: A regular expression that is searched for in the path of each image. Images whose first group (or
            whole match) is the same, such as those of one patient, stay in one split.
        split_file: The `split.csv` of an earlier run, whose split is used again.
        split_seed: The seed of the split and of `max_per_class`, so that runs with different seeds are measured on the
            same images; None means the `seed` of the run.
        val_fraction: The fraction of all images for validation, if there is no folder for it; 0 trains on them, too.
        test_fraction: The fraction of all images for testing, likewise.
        max_per_class: The maximum number of images per class and folder; None means no limit.
        folds: The number of parts for cross-validation, each stratified by class.
        fold: The part that this run holds out, from 0 to `folds` - 1; `all` for a run of each, see `sweep/folds.py`.
        image_size: The side of the square network input in pixels; `auto/` resolves `auto`.
        train_sizes: The image sizes of progressive resizing in pixels, each for an equal part of the epochs; None means
            `image_size` throughout.
        channels: The number of channels: 3 for RGB, 1 for grayscale.
        resize: The treatment of images that are not square: `stretch`, `crop` or `pad`.
        mean: The mean that is subtracted from pixels in [0, 1], one value or one per channel; measured on the training
            images if None.
        std: The standard deviation that pixels are divided by, likewise.
        value_range: The lowest and highest value of images with more than 8 bits per channel, which are scaled to 256
            gray levels; measured on the training images if None. Images with 8 bits are not affected.
        batch_size: The number of images per training step; `auto/` resolves `auto`.
        sampler: `shuffle` uses every training image once per epoch; `balanced` draws equally many of every class.
        cache: `disk` decodes every image once into a file that runs share, `ram` into memory; `none` decodes in every
            epoch; `auto` means `disk` if the limit and the free space allow it, else `none`.
        cache_limit_gb: The maximum size of the cache in gigabytes for `cache=auto`.
        on_unreadable: The treatment of unreadable images: `skip` leaves them out, `error` stops the run.
        max_unreadable: The maximum fraction of unreadable images for `on_unreadable=skip`.

    Raises:
        ConfigError: If a value is out of range.
    """

    name: str = "folder"
    source: str | Sequence[str] | None = None
    checksum: str | Sequence[str] | None = None
    mirror: str | None = None
    homepage: str | None = None
    zip_encoding: str = AUTO
    root: str | None = None
    train_dir: str | None = None
    val_dir: str | None = None
    test_dir: str | None = None
    rename_classes: Mapping[Any, Any] | None = None
    group_pattern: str | None = None
    split_file: str | None = None
    split_seed: int | None = 1
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    max_per_class: int | None = None
    folds: int | None = None
    fold: int | Literal["all"] = 0
    image_size: int | Literal["auto"] = "auto"
    train_sizes: Sequence[int] | Literal["auto"] | None = "auto"
    channels: int = 3
    resize: str = "stretch"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    value_range: Sequence[float] | None = None
    batch_size: int | Literal["auto"] = "auto"
    sampler: str = "shuffle"
    cache: str = "auto"
    cache_limit_gb: float = 16.0
    on_unreadable: str = "skip"
    max_unreadable: float = 0.05

    def __post_init__(self) -> None:
        self._check(is_name_encoding(self.zip_encoding), "zip_encoding", "auto or an encoding such as gbk or cp866")
        self._check(0 <= self.val_fraction < 1, "val_fraction", "a fraction from 0 to 1, such as 0.1")
        self._check(0 <= self.test_fraction < 1, "test_fraction", "a fraction from 0 to 1, such as 0.2")
        self._check(
            self.val_fraction + self.test_fraction < 1,
            "val_fraction",
            "less than 1 together with test_fraction",
        )
        names = chain.from_iterable((self.rename_classes or {}).items())
        self._check(
            all(isinstance(name, str | int) and not isinstance(name, bool) for name in names),
            "rename_classes",
            "text; write a new name as {cat: 'true'}, and a folder name such as true or 1e3 in quotes in a YAML file",
        )
        self._check(0 <= (self.split_seed or 0) < 2**32, "split_seed", "an integer from 0 to 4294967295, or null")
        self._check(self.max_per_class is None or self.max_per_class >= 1, "max_per_class", "at least 1")
        self._check(self.folds is None or self.folds >= 2, "folds", "at least 2")
        is_fold = self.folds is not None if self.fold == "all" else 0 <= self.fold < (self.folds or 1)
        self._check(is_fold, "fold", f"all or a number from 0 to folds - 1 = {(self.folds or 1) - 1}")
        self._check(self.image_size == "auto" or 1 <= self.image_size <= 4096, "image_size", "from 1 to 4096 pixels")
        sizes = self.train_sizes if isinstance(self.train_sizes, Sequence) and self.train_sizes != AUTO else ()
        self._check(all(8 <= int(size) <= 4096 for size in sizes), "train_sizes", "from 8 to 4096")
        self._check(self.channels in (1, 3), "channels", "3 (RGB) or 1 (grayscale)")
        self._check(self.resize in RESIZE_POLICIES, "resize", " or ".join(RESIZE_POLICIES))
        for key, values in (("mean", self.mean), ("std", self.std)):
            self._check(values is None or len(values) in (1, self.channels), key, f"1 or {self.channels} values")
        self._check(all(std > 0 for std in self.std or ()), "std", "values above 0")
        bounds = [0, 1] if self.value_range is None else list(self.value_range)
        is_range = len(bounds) == 2 and all(map(math.isfinite, bounds)) and bounds[0] < bounds[1]
        self._check(is_range, "value_range", "two numbers, the lower first, such as [0,4095]")
        self._check(
            self.batch_size == "auto" or self.batch_size >= 2,
            "batch_size",
            "at least 2 (batch normalization requires two images)",
        )
        self._check(self.sampler in SAMPLERS, "sampler", " or ".join(SAMPLERS))
        self._check(self.cache in CACHE_MODES, "cache", " or ".join(CACHE_MODES))
        self._check(self.cache_limit_gb > 0, "cache_limit_gb", "a size in gigabytes above 0")
        self._check(self.on_unreadable in UNREADABLE_POLICIES, "on_unreadable", " or ".join(UNREADABLE_POLICIES))
        self._check(0 <= self.max_unreadable <= 1, "max_unreadable", "a fraction from 0 to 1, such as 0.05")
        if len(self.sources) > 1:
            self._check(len(self.checksums) in (0, len(self.sources)), "checksum", "one for each of dataset.source")

    def _check(self, condition: bool, key: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"dataset.{key}={getattr(self, key)} is out of range: expected {expected}")

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of image files; a mean or std that is yet to be measured is 0 or 1."""
        return Preprocess(
            image_size=int(self.image_size),
            channels=self.channels,
            resize=self.resize,
            mean=per_channel(self.mean or [0.0], self.channels),
            std=per_channel(self.std or [1.0], self.channels),
            value_range=None if self.value_range is None else (float(self.value_range[0]), float(self.value_range[1])),
        )

    @property
    def sources(self) -> list[str]:
        """`source` as a list."""
        return as_list(self.source)

    @property
    def table(self) -> str | None:
        """The only source if it is a CSV file; `root` is then the folder of its images."""
        return self.source if isinstance(self.source, str) and self.source.lower().endswith(TABLE_SUFFIXES) else None

    @property
    def checksums(self) -> list[str]:
        """`checksum` as a list."""
        return as_list(self.checksum)

    @property
    def split_dirs(self) -> dict[str, Path]:
        """The folders of the splits that are given by name."""
        base = Path(self.root).expanduser() if self.root else Path()
        dirs = {"train": self.train_dir, "val": self.val_dir, "test": self.test_dir}
        return {split: base / Path(folder).expanduser() for split, folder in dirs.items() if folder}


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """Return a list of the given strings, empty for None."""
    return [value] if isinstance(value, str) else list(value or ())


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Return one value per channel, from one value for all channels or one for each."""
    return tuple(float(value) for value in (values if len(values) == channels else list(values) * channels))
