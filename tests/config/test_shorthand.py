"""Tests of paths, implied datasets and misspelled arguments of `train`."""

from pathlib import Path

import pytest

from cnn_classifier.config.compose import load_config
from cnn_classifier.config.shorthand import expand_arguments
from cnn_classifier.errors import ConfigError


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("photos", "my photos (1)", "a=b"):
        (tmp_path / name).mkdir()
    for name in ("labels.csv", "photos.zip"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "key"),
    [
        *(("photos", "root"), ("photos/", "root"), ("./photos", "root"), ("~/photos", "root")),
        *(("my photos (1)", "root"), ("./a=b", "root"), ("labels.csv", "source"), ("photos.zip", "source")),
        ("https://example.org/photos.zip", "source"),
    ],
)
def test_path_without_key_is_the_dataset(path: str, key: str) -> None:
    dataset = load_config([path, "seed=3"]).dataset
    assert (dataset.name, dataset[key], dataset.image_size) == ("folder", path, "auto")


@pytest.mark.parametrize("override", ["dataset.root=photos", "dataset.source=photos.zip", "dataset.train_dir=photos"])
def test_source_without_dataset_implies_the_folder_recipe(override: str) -> None:
    config = load_config([override])
    assert (config.dataset.name, config.dataset.image_size, config.budget) == ("folder", "auto", "auto")
    assert load_config(["dataset=digits", override]).dataset.image_size == 16  # what is typed is kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photoz"], "^photoz does not exist: expected a folder"),
        (["dataset.root=my", "photoz"], "photoz does not exist.*quote both: .dataset.root=my photoz."),
        (["photos", "labels.csv"], "photos and labels.csv are two paths"),
        (["photos", "dataset=digits"], "photos and dataset=digits are two datasets"),
        (
            ["dataset.root=photos", "dataset.source=photos.zip"],
            "dataset.source and dataset.root=photos are two sources",
        ),
        (["dataset.root=photos", "photos.zip"], "are two sources"),
        (["seed", "=", "1"], "^seed has a space before ="),
        (["seed", "=1"], "^seed has a space before ="),
        (["seed:1"], "seed:1 is not an override; write seed=1"),
        (["--seed=1"], "--seed=1 is not an option of train; set a value with key=value, such as seed=1"),
        (["--data", "photos"], "such as dataset.root="),
        (["model=cnn,resnet"], "^model=cnn,resnet has several values; add -m"),
        (["+val=1"], "^val is not in the configuration"),
        (["++val=1"], "^val is not in the configuration"),
        (["+loss.smoothing=1"], r"loss\.smoothing is not in the configuration"),
        (["+augment.x=1"], "augment.x=1 is not a component"),
        (["optimizer.lr=nan"], "optimizer.lr=nan is out of range"),
    ],
)
def test_wrong_argument_is_named_with_its_correction(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(arguments)


def test_added_key_that_an_interpolation_uses_is_accepted() -> None:
    assert load_config(["+width=64", "model=cnn", "model.widths=[${width},${width}]"]).width == 64


def test_python_none_is_null() -> None:
    assert load_config(["dataset.train_sizes=None"]).dataset.train_sizes is None


def test_options_and_their_values_are_kept() -> None:
    arguments = ["-m", "--config-dir", "photos", "-c", "job", "seed=1,2", "~callbacks.ema", "dataset.root=photos"]
    assert expand_arguments(arguments) == [*arguments[:-1], "dataset=folder", arguments[-1]]
