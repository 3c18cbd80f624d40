"""What `dataset.` can say: where the images are, how they are split, sized and fed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.data.preprocess import RESIZE_POLICIES, Preprocess
from cnn_classifier.errors import ConfigError

CACHE_MODES = ("auto", "none")
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """The values under `dataset.`, checked without importing torch.

    Args:
        name: What the run folder and the report call this data set.
        source: A data set that we can make ourselves (`digits`), used where `root` is not given.
        root: The folder that holds one folder a class, or `train`, `val` and `test` folders of them.
        train_dir: The training images' folder, relative to `root` where that is given; for folders of other names.
        val_dir: Likewise for validation.
        test_dir: Likewise for testing.
        split_file: A `split.csv` of an earlier run, to train on the very same split.
        val_fraction: Share of the training images set aside for validation where no folder is given for it.
        test_fraction: Share of all images set aside for testing where no folder is given for it.
        limit_per_class: Take at most this many images of each class from each folder; all of them if None.
        folds: Cross-validate: cut the images into this many parts, each class spread evenly.
        fold: The part that this run sets aside, from 0 to `folds` - 1.
        image_size: Side in pixels of the square that the network sees.
        channels: 3 for RGB, 1 for grey.
        resize: What happens to images that are not square: `squash`, `crop` or `pad`.
        mean: Subtracted from pixels in [0, 1]; one value, or one a channel.
        std: What the rest is divided by; one value, or one a channel.
        batch_size: Images a training step.
        cache: `auto` decodes every image once into a file that later runs share; `none` decodes in every epoch.
        cache_limit_gb: Above this size in gigabytes the images are decoded in every epoch after all.

    Raises:
        ConfigError: If a value is out of its range; the message names the key.
    """

    name: str = "folder"
    source: str | None = None
    root: str | None = None
    train_dir: str | None = None
    val_dir: str | None = None
    test_dir: str | None = None
    split_file: str | None = None
    val_fraction: float = 0.1
    test_fraction: float = 0.2
    limit_per_class: int | None = None
    folds: int | None = None
    fold: int = 0
    image_size: int = 128
    channels: int = 3
    resize: str = "squash"
    mean: Sequence[float] = (0.5,)
    std: Sequence[float] = (0.25,)
    batch_size: int = 32
    cache: str = "auto"
    cache_limit_gb: float = 16.0

    def __post_init__(self) -> None:
        self._require(0 < self.val_fraction < 1, "val_fraction", "a share between 0 and 1, such as 0.1")
        self._require(0 < self.test_fraction < 1, "test_fraction", "a share between 0 and 1, such as 0.2")
        self._require(
            self.val_fraction + self.test_fraction < 1,
            "val_fraction",
            "less than 1 together with test_fraction",
        )
        self._require(self.limit_per_class is None or self.limit_per_class >= 1, "limit_per_class", "at least 1")
        self._require(self.folds is None or self.folds >= 2, "folds", "at least 2")
        self._require(0 <= self.fold < (self.folds or 1), "fold", f"from 0 to folds - 1 = {(self.folds or 1) - 1}")
        self._require(1 <= self.image_size <= 4096, "image_size", "from 1 to 4096 pixels")
        self._require(self.channels in (1, 3), "channels", "3 (RGB) or 1 (grey)")
        self._require(self.resize in RESIZE_POLICIES, "resize", " or ".join(RESIZE_POLICIES))
        self._require(len(self.mean) in (1, self.channels), "mean", f"1 or {self.channels} values")
        self._require(len(self.std) in (1, self.channels), "std", f"1 or {self.channels} values")
        self._require(all(std > 0 for std in self.std), "std", "values above 0")
        self._require(self.batch_size >= 2, "batch_size", "at least 2 (batch normalisation needs two images)")
        self._require(self.cache in CACHE_MODES, "cache", " or ".join(CACHE_MODES))

    def _require(self, holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise ConfigError(f"dataset.{key}={getattr(self, key)} is out of range; expected {expected}")

    @property
    def preprocess(self) -> Preprocess:
        """How an image file becomes the pixels that the network sees."""
        return Preprocess(
            image_size=self.image_size,
            channels=self.channels,
            resize=self.resize,
            mean=one_a_channel(self.mean, self.channels),
            std=one_a_channel(self.std, self.channels),
        )

    @property
    def named_folders(self) -> dict[str, Path]:
        """The folders given by name, by split."""
        base = Path(self.root).expanduser() if self.root else Path()
        given = {"train": self.train_dir, "val": self.val_dir, "test": self.test_dir}
        return {split: base / Path(folder).expanduser() for split, folder in given.items() if folder}


def one_a_channel(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """One value a channel, from one value for all or from one a channel."""
    return tuple(float(value) for value in (values if len(values) == channels else list(values) * channels))
