"""A value out of its range is refused with its key, its value and the range, before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, "val_fraction=0.0 is out of range; expected a share between 0 and 1, such as 0.1"),
        ({"test_fraction": 20}, "test_fraction=20 is out of range; expected a share between 0 and 1, such as 0.2"),
        ({"val_fraction": 0.8}, "val_fraction=0.8 is out of range; expected less than 1 together with test_fraction"),
        ({"limit_per_class": 0}, "limit_per_class=0 is out of range; expected at least 1"),
        ({"folds": 1}, "folds=1 is out of range; expected at least 2"),
        ({"folds": 5, "fold": 5}, "fold=5 is out of range; expected from 0 to folds - 1 = 4"),
        ({"fold": 1}, "fold=1 is out of range; expected from 0 to folds - 1 = 0"),
        ({"image_size": 0}, "image_size=0 is out of range; expected from 1 to 4096 pixels"),
        ({"channels": 4}, "channels=4 is out of range; expected 3 (RGB) or 1 (grey)"),
        ({"resize": "stretch"}, "resize=stretch is out of range; expected squash or crop or pad"),
        ({"mean": [0.5, 0.5]}, "mean=[0.5, 0.5] is out of range; expected 1 or 3 values"),
        ({"std": []}, "std=[] is out of range; expected 1 or 3 values"),
        ({"std": [0.0]}, "std=[0.0] is out of range; expected values above 0"),
        ({"batch_size": 1}, "batch_size=1 is out of range; expected at least 2 (batch normalisation needs two images)"),
        ({"cache": "ram"}, "cache=ram is out of range; expected auto or none"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_key(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        DatasetOptions(**options)
    assert str(raised.value) == f"dataset.{message}"


def test_one_mean_stands_for_every_channel() -> None:
    assert DatasetOptions(mean=[0.4], std=[0.2, 0.3, 0.4]).preprocess.mean == (0.4, 0.4, 0.4)
    assert DatasetOptions(mean=[0.4], std=[0.2, 0.3, 0.4]).preprocess.std == (0.2, 0.3, 0.4)
    assert DatasetOptions(channels=1).preprocess.mean == (0.5,)


def test_named_folders_are_relative_to_root_unless_absolute(tmp_path: Path) -> None:
    absolute = str(tmp_path / "exam")
    assert DatasetOptions(root="pets", train_dir="learn", test_dir=absolute).named_folders == {
        "train": Path("pets", "learn"),
        "test": tmp_path / "exam",
    }
    assert DatasetOptions(train_dir="learn").named_folders == {"train": Path("learn")}
