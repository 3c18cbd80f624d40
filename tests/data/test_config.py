"""`DatasetConfig`: ranges, types and derived values."""

import re
from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.config.signature import check_signature
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 1.0}, "val_fraction=1.0 is out of range: expected a fraction from 0 to 1, such as 0.1"),
        (
            {"val_fraction": float("nan")},
            "val_fraction=nan is out of range: expected a fraction from 0 to 1, such as",
        ),
        ({"test_fraction": 20}, "test_fraction=20 is out of range: expected a fraction from 0 to 1, such as 0.2"),
        ({"val_fraction": 0.8}, "val_fraction=0.8 is out of range: expected less than 1 together with test_fraction"),
        ({"max_per_class": 0}, "max_per_class=0 is out of range: expected at least 1"),
        ({"folds": 1}, "folds=1 is out of range: expected at least 2"),
        ({"folds": 5, "fold": 5}, "fold=5 is out of range: expected all or a number from 0 to folds - 1 = 4"),
        ({"fold": 1}, "fold=1 is out of range: expected all or a number from 0 to folds - 1 = 0"),
        ({"fold": "all"}, "fold=all is out of range: expected all or a number from 0"),
        ({"image_size": 0}, "image_size=0 is out of range: expected from 1 to 4096 pixels"),
        ({"channels": 4}, "channels=4 is out of range: expected 3 (RGB) or 1 (grayscale)"),
        ({"resize": "zoom"}, "resize=zoom is out of range: expected stretch or crop or pad"),
        ({"mean": [0.5, 0.5]}, "mean=[0.5, 0.5] is out of range: expected 1 or 3 values"),
        ({"std": []}, "std=[] is out of range: expected 1 or 3 values"),
        ({"std": [0.0]}, "std=[0.0] is out of range: expected values above 0"),
        (
            {"batch_size": 1},
            "batch_size=1 is out of range: expected at least 2 (batch normalization requires two images)",
        ),
        ({"sampler": "random"}, "sampler=random is out of range: expected shuffle or balanced"),
        ({"cache": "gpu"}, "cache=gpu is out of range: expected auto or ram or disk or none"),
        ({"cache_limit_gb": 0}, "cache_limit_gb=0 is out of range: expected a size in gigabytes above 0"),
        ({"on_unreadable": "ignore"}, "on_unreadable=ignore is out of range: expected skip or error"),
        ({"max_unreadable": 5}, "max_unreadable=5 is out of range: expected a fraction from 0 to 1, such as 0.05"),
        (
            {"source": ["a.zip", "b.zip"], "checksum": "md5:00"},
            "checksum=md5:00 is out of range: expected one for each of dataset.source",
        ),
    ],
)
def test_value_out_of_range_raises_config_error_with_its_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        DatasetConfig(**options)
    assert str(error.value).startswith(f"dataset.{message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": 2024}, "root=2024 is of the wrong type: expected str or null"),
        ({"source": [1]}, "source=[1] is of the wrong type: expected str or a list of str or null"),
        ({"image_size": "big"}, "image_size='big' is of the wrong type: expected int or auto"),
        ({"image_size": True}, "image_size=True is of the wrong type: expected int or auto"),
        ({"folds": 2.5}, "folds=2.5 is of the wrong type: expected int or null"),
        ({"mean": 0.5}, "mean=0.5 is of the wrong type: expected a list of float or null"),
        (
            {"rename_classes": ["dog"]},
            "rename_classes=['dog'] is of the wrong type: expected a mapping such as {name: value} or null",
        ),
    ],
)
def test_value_of_the_wrong_type_raises_config_error_with_the_expected_type(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        check_signature(DatasetConfig, options, name="dataset")
    assert str(error.value) == f"dataset: {message}"


@pytest.mark.parametrize("renames", [{True: "yes"}, {"cats": 1000.0}, {"cats": None}])
def test_rename_classes_that_yaml_read_as_other_types_raises_config_error(renames: dict[Any, Any]) -> None:
    message = f"dataset.rename_classes={renames} is out of range: expected text; write a new name as {{cat: 'true'}}, "
    with pytest.raises(ConfigError, match=re.escape(message)):
        DatasetConfig(root="photos", rename_classes=renames)


def test_rename_classes_accepts_numbers_as_folder_names() -> None:
    check_signature(DatasetConfig, {"rename_classes": {0: "zero", "one": 1}}, name="dataset")


def test_one_mean_is_used_for_every_channel() -> None:
    rgb = DatasetConfig(image_size=8, mean=[0.4], std=[0.2, 0.3, 0.4]).preprocess
    assert (rgb.mean, rgb.std) == ((0.4, 0.4, 0.4), (0.2, 0.3, 0.4))
    gray = DatasetConfig(image_size=8, channels=1).preprocess
    assert (gray.mean, gray.std) == ((0.0,), (1.0,))


def test_sources_and_checksums_are_lists() -> None:
    options = DatasetConfig(source="a.zip", checksum="md5:00")
    assert (options.sources, options.checksums) == (["a.zip"], ["md5:00"])
    assert DatasetConfig(source=("a.zip", "b.zip")).sources == ["a.zip", "b.zip"]
    assert DatasetConfig().sources == []


def test_split_dirs_are_relative_to_root_unless_absolute(tmp_path: Path) -> None:
    absolute = str(tmp_path / "exam")
    assert DatasetConfig(root="pets", train_dir="learn", test_dir=absolute).split_dirs == {
        "train": Path("pets", "learn"),
        "test": tmp_path / "exam",
    }
    assert DatasetConfig(train_dir="learn").split_dirs == {"train": Path("learn")}
