"""Tests of the range of values of a dataset with more than 8 bits per channel."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.checks.value_range import combine_limits, describe_value_range, typical_levels
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading.pixel_cache import cache_key
from cnn_classifier.errors import ConfigError


def write_images(root: Path, *, offset: int = 0, splits: tuple[str, ...] = ("train", "val", "test")) -> Path:
    """Write 12-bit images around 2000 whose classes differ by 20 of 4,096 values, in each split folder."""
    random = np.random.default_rng(0)
    for number, split in enumerate(splits):
        for label, name in enumerate(("dark", "light")):
            (root / split / name).mkdir(parents=True)
            for index in range(6):
                values = random.integers(1960, 2040, (16, 16)) + 20 * label + offset * number
                Image.fromarray(values.astype(np.uint16)).save(root / split / name / f"{index}.png")
    return root


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([(1935, 2065)], (1932, 2068)),
        ([(0, 4000), (100, 4095)], (0, 4096)),
        ([(-3.5, 2.0)], (-3.5, 2.0)),
        ([(7, 7)], (7, 8)),
        ([None, None], None),
        ([(300, 3000), None], (0, 4095)),
        ([(300, 3000), (500, 60000), None], (0, 65535)),
        ([(0.1, 0.9), None], (0, 1)),
        ([(300, 3000)] * 30 + [None], (256, 3008)),
    ],
)
def test_range_covers_all_images(limits: list[tuple[float, float] | None], expected: tuple[float, float]) -> None:
    assert combine_limits(limits) == expected


def test_range_excludes_one_of_two_thousand_images() -> None:
    assert combine_limits([(1000, 2000)] * 1999 + [(0, 65535)]) == (992, 2000)


def test_warning_states_the_remaining_gray_levels() -> None:
    limits = [(1935.0, 2065.0)] * 99 + [(0.0, 65535.0)]
    value_range = combine_limits(limits)
    assert value_range == (0, 65536)
    assert typical_levels(limits, value_range) == 2
    (message,) = describe_value_range(limits, value_range)
    assert "A typical image covers only 2 of them, because its values range from 1935 to 2065" in message
    assert "dataset.value_range=[LOW,HIGH]" in message
    assert describe_value_range([None], (0, 4095)) == [
        "dataset.value_range=[0,4095] has no effect: all images have 8 bits per channel."
    ]


@pytest.mark.parametrize("value_range", [[0], [1, 1], [5, 2], [0, float("nan")]])
def test_range_without_two_increasing_numbers_is_refused(value_range: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"value_range.*the lower first"):
        DatasetConfig(value_range=value_range)


def test_range_of_the_training_images_scales_all_splits(tmp_path: Path, home: Path) -> None:
    root = write_images(tmp_path / "images", offset=4000)
    data = ImageFolderDataModule(root, image_size=16, augment="none")
    assert data.preprocess.value_range == (1960, 2060)
    pixels = {split: next(iter(data.build_loader(split)))[0].float().mean() for split in ("train", "test")}
    assert 100 < pixels["train"] < 155
    assert pixels["test"] == 255  # brighter than all training images
    again = ImageFolderDataModule(root, image_size=16, augment="none", cache="none")  # streamed from the files
    loaders = (list(module.build_loader("train")) for module in (data, again))
    assert all(bool((a[0] == b[0]).all()) for a, b in zip(*loaders, strict=True))
    given = ImageFolderDataModule(root, image_size=16, augment="none", value_range=[0, 65535])
    assert given.preprocess.value_range == (0, 65535)
    assert "covers only 1 of them" in " ".join(given.prepared.summary["notes"])


def test_datasets_of_wide_images_share_a_range(tmp_path: Path) -> None:
    arrays = [(np.full((16, 16), 1000 * (1 + index % 4), np.uint16), index % 2) for index in range(20)]
    images = [(Image.fromarray(array), label) for array, label in arrays]
    for items in (arrays, images):
        data = ImageFolderDataModule.from_datasets(items, items, items, image_size=16, augment="none")
        assert data.preprocess.value_range == (960, 4032)
        levels = {int(image.max()) for image in next(iter(data.build_loader("test")))[0]}
        assert levels == {3, 86, 169, 252}


def test_cache_key_of_8_bit_images_is_that_of_earlier_versions() -> None:
    preprocess = Preprocess(image_size=64, channels=3, resize="stretch", mean=(0.0,), std=(1.0,))
    assert cache_key(["a", "b"], preprocess) == "4d32bd05cd54e8b12a7f90f30f269645"
