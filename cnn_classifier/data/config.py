"""What `dataset.` can say: where the images are, how they are split, sized and fed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cnn_classifier.data import AUTO
from cnn_classifier.data.images.preprocess import RESIZE_POLICIES, Preprocess
from cnn_classifier.errors import ConfigError

CACHE_MODES = ("auto", "ram", "disk", "none")
SAMPLERS = ("shuffle", "balanced")
UNREADABLE_POLICIES = ("skip", "error")
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The values under `dataset.`, checked without importing torch.

    Args:
        name: What the run folder and the report call this data set.
        source: Where the images come from where `root` is not given: a folder, a zip or tar archive, a CSV of
            `path,label[,split][,group]`, the https address of an archive, a list of them, or `digits`.
        checksum: What a download must be: `sha256:HEX` or `md5:HEX`, one for each source.
        mirror: An address whose folder holds the downloads under their file names; asked instead of the original.
        homepage: Where a user finds the archive if it cannot be downloaded for them.
        root: A folder that holds one folder a class, or `train`, `val` and `test` folders of them.
        train_dir: The training images' folder, relative to `root` where that is given; for folders of other names.
        val_dir: Likewise for validation.
        test_dir: Likewise for testing.
        class_names: What class folders are called from here on, by the folder's name: `{cane: dog}`; YAML reads a
            folder name such as 0 as a number.
        group_pattern: A regular expression searched for in the path of each image; images for which its first group
            (or all of it) is the same, such as those of one patient, are never torn apart by a split.
        split_file: A `split.csv` of an earlier run, to train on the very same split.
        val_fraction: Share of the training images set aside for validation where no folder is given for it.
        test_fraction: Share of all images set aside for testing where no folder is given for it.
        max_per_class: Take at most this many images of each class from each folder; all of them if None.
        folds: Cross-validate: cut the images into this many parts, each class spread evenly.
        fold: The part that this run sets aside, from 0 to `folds` - 1.
        image_size: Side in pixels of the square that the network sees; `auto` until `auto/` resolves it.
        train_sizes: The image sizes of progressive resizing in pixels, each for an equal part of the epochs; if None,
            `image_size` throughout.
        channels: 3 for RGB, 1 for grey.
        resize: What happens to images that are not square: `stretch`, `crop` or `pad`.
        mean: Subtracted from pixels in [0, 1]; one value, or one a channel; measured on the training images if None.
        std: What the rest is divided by; one value, or one a channel; measured likewise.
        batch_size: Images a training step; `auto` likewise.
        sampler: `shuffle` shows every training image once an epoch; `balanced` draws as many of every class.
        cache: `disk` decodes every image once into a file that later runs share, `ram` into memory, `none` decodes in
            every epoch; `auto` is `disk` where it fits the limit and the disk, else `none`.
        cache_limit_gb: The size in gigabytes from which on `auto` decodes in every epoch.
        on_unreadable: What happens to images that cannot be read: `skip` leaves them out, `error` ends the run.
        max_unreadable: With `skip`, the share of unreadable images above which the run ends all the same.

    Raises:
        ConfigError: If a value is out of its range; the message names the key.
    """

    name: str = "folder"
    source: str | Sequence[str] | None = None
    checksum: str | Sequence[str] | None = None
    mirror: str | None = None
    homepage: str | None = None
    root: str | None = None
    train_dir: str | None = None
    val_dir: str | None = None
    test_dir: str | None = None
    rename_classes: Mapping[str | int, str | int] | None = None
    group_pattern: str | None = None
    split_file: str | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    max_per_class: int | None = None
    folds: int | None = None
    fold: int = 0
    image_size: int | Literal["auto"] = "auto"
    train_sizes: Sequence[int] | Literal["auto"] | None = "auto"
    channels: int = 3
    resize: str = "stretch"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    batch_size: int | Literal["auto"] = "auto"
    sampler: str = "shuffle"
    cache: str = "auto"
    cache_limit_gb: float = 16.0
    on_unreadable: str = "skip"
    max_unreadable: float = 0.05

    def __post_init__(self) -> None:
        self._check(0 < self.val_fraction < 1, "val_fraction", "a share between 0 and 1, such as 0.1")
        self._check(0 < self.test_fraction < 1, "test_fraction", "a share between 0 and 1, such as 0.2")
        self._check(
            self.val_fraction + self.test_fraction < 1,
            "val_fraction",
            "less than 1 together with test_fraction",
        )
        self._check(self.max_per_class is None or self.max_per_class >= 1, "max_per_class", "at least 1")
        self._check(self.folds is None or self.folds >= 2, "folds", "at least 2")
        self._check(0 <= self.fold < (self.folds or 1), "fold", f"from 0 to folds - 1 = {(self.folds or 1) - 1}")
        self._check(self.image_size == "auto" or 1 <= self.image_size <= 4096, "image_size", "from 1 to 4096 pixels")
        sizes = self.train_sizes if isinstance(self.train_sizes, Sequence) and self.train_sizes != AUTO else ()
        self._check(all(8 <= int(size) <= 4096 for size in sizes), "train_sizes", "from 8 to 4096")
        self._check(self.channels in (1, 3), "channels", "3 (RGB) or 1 (grey)")
        self._check(self.resize in RESIZE_POLICIES, "resize", " or ".join(RESIZE_POLICIES))
        for key, values in (("mean", self.mean), ("std", self.std)):
            self._check(values is None or len(values) in (1, self.channels), key, f"1 or {self.channels} values")
        self._check(all(std > 0 for std in self.std or ()), "std", "values above 0")
        self._check(
            self.batch_size == "auto" or self.batch_size >= 2,
            "batch_size",
            "at least 2 (batch normalisation needs two images)",
        )
        self._check(self.sampler in SAMPLERS, "sampler", " or ".join(SAMPLERS))
        self._check(self.cache in CACHE_MODES, "cache", " or ".join(CACHE_MODES))
        self._check(self.cache_limit_gb > 0, "cache_limit_gb", "a size in gigabytes above 0")
        self._check(self.on_unreadable in UNREADABLE_POLICIES, "on_unreadable", " or ".join(UNREADABLE_POLICIES))
        self._check(0 <= self.max_unreadable <= 1, "max_unreadable", "a share from 0 to 1, such as 0.05")
        if len(self.sources) > 1:
            self._check(len(self.checksums) in (0, len(self.sources)), "checksum", "one for each of dataset.source")

    def _check(self, condition: bool, key: str, expected: str) -> None:
        if not condition:
            raise ConfigError(f"dataset.{key}={getattr(self, key)} is out of range; expected {expected}")

    @property
    def preprocess(self) -> Preprocess:
        """How an image file becomes the pixels that the network sees; a mean or std to be measured is 0 and 1 yet."""
        return Preprocess(
            image_size=int(self.image_size),
            channels=self.channels,
            resize=self.resize,
            mean=per_channel(self.mean or [0.0], self.channels),
            std=per_channel(self.std or [1.0], self.channels),
        )

    @property
    def sources(self) -> list[str]:
        """`source` as a list."""
        return as_list(self.source)

    @property
    def checksums(self) -> list[str]:
        """`checksum` as a list."""
        return as_list(self.checksum)

    @property
    def split_dirs(self) -> dict[str, Path]:
        """The folders given by name, by split."""
        base = Path(self.root).expanduser() if self.root else Path()
        dirs = {"train": self.train_dir, "val": self.val_dir, "test": self.test_dir}
        return {split: base / Path(folder).expanduser() for split, folder in dirs.items() if folder}


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """None, one word or several as a list."""
    return [value] if isinstance(value, str) else list(value or ())


def per_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """One value a channel, from one value for all or from one a channel."""
    return tuple(float(value) for value in (values if len(values) == channels else list(values) * channels))
