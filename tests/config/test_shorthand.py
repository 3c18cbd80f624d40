"""Tests of paths, implied datasets and misspelled arguments of `train`."""

from pathlib import Path

import pytest

from cnn_classifier.config.compose import load_config
from cnn_classifier.config.shorthand import check_multirun_options, expand_arguments, source_override
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


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+search.x=1"], r"^search\.x is not in the configuration"),
        (["+experiment.x=1"], r"^experiment\.x is not in the configuration"),
        (["+optimizer.x=1"], r"^optimizer=auto has no 'x'"),
        (["+model.x=1"], r"^model=auto has no 'x'"),
        (["optimizer=muon", "+optimizer.x=1"], r"^optimizer \(.*Muon\) has no 'x'"),
        (["+scheduler.x=1"], r"^scheduler \(.*\) has no 'x'"),
        (["+callbacks.ema.x=1"], r"^callbacks\.ema \(.*\) has no 'x'"),
        (["logger=csv", "+logger.csv.x=1"], r"^logger\.csv \(.*\) has no 'x'"),
        (["+augment.flip.x=1"], r"^augment\.flip \(.*\) has no 'x'"),
        (["model=resnet", "+model.x=1"], r"^model \(.*\) has no 'x'"),
        (["model=resnet", "+model.num_classes=3"], r"^model\.num_classes=3 has no effect, because train sets it"),
        (["+scheduler.monitor=val/loss"], "^scheduler.monitor=val/loss has no effect"),
        (["optimizer=adamw", "+optimizer._partial_=true"], "_partial_ is not supported"),
        (["dataset.fold=1"], r"^dataset\.fold=1 has no effect.*dataset\.folds=5"),
        (["dataset.folds=5", "dataset.split_file=a.csv"], "^dataset.folds=5 has no effect: dataset.split_file"),
        (["dataset.folds=5", "dataset.test_fraction=0.3"], "^dataset.test_fraction=0.3 has no effect: dataset.folds"),
        (["dataset.checksum=md5:00"], "^dataset.checksum=md5:00 has no effect: nothing is downloaded"),
        (["dataset.zip_encoding=gbk"], "^dataset.zip_encoding=gbk has no effect"),
        (["dataset.cache=none", "dataset.cache_limit_gb=2"], "^dataset.cache_limit_gb=2 has no effect"),
        (["dataset.on_unreadable=error", "dataset.max_unreadable=0.1"], "^dataset.max_unreadable=0.1 has no effect"),
        (["model=pretrained", "model.freeze=1", "model.unfreeze=0.5"], "^model.unfreeze=0.5 has no effect"),
        (["trainer.gradient_clip_algorithm=value"], "has no effect: nothing is clipped"),
        (["trainer.use_distributed_sampler=true"], "has no effect: the data module splits"),
        (["trainer.min_epochs=5", "trainer.max_epochs=2"], "^trainer.min_epochs=5 has no effect"),
    ],
)
def test_override_without_an_effect_is_an_error(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(["photos", *overrides])


def test_similar_key_in_a_yaml_file_is_an_error_and_a_note_is_not(sources: Path) -> None:
    (sources / "experiment").mkdir()
    path = sources / "experiment" / "mine.yaml"
    path.write_text("# @package _global_\nnotes: mine\n")
    assert load_config(["experiment=mine"], config_dir=sources).notes == "mine"
    path.write_text("# @package _global_\nbuget: 5m\n")
    with pytest.raises(ConfigError, match=r"^buget is not in the configuration; did you mean 'budget'"):
        load_config(["experiment=mine"], config_dir=sources)


@pytest.mark.parametrize(
    ("argument", "is_sweep"),
    [("hydra/sweeper=optuna", False), ("hydra.launcher.n_jobs=2", False), ("run_dir=x", True)],
)
def test_option_of_a_sweep_or_of_a_run_only_is_an_error_in_the_other(argument: str, is_sweep: bool) -> None:
    with pytest.raises(ConfigError, match=f"^{argument} has no effect with"):
        check_multirun_options([argument], is_sweep=is_sweep)
    check_multirun_options([argument], is_sweep=not is_sweep)


@pytest.mark.parametrize("name", ["C:\\photos", "D:\\my photos\\", "photos=", "photos [1]", "[cats]", "it's, {a}"])
def test_path_with_special_characters_is_the_root(name: str, sources: Path) -> None:
    (sources / name).mkdir()
    path = f"./{name}" if "=" in name else name
    assert load_config([path]).dataset.root == path
    assert load_config([source_override(path)]).dataset.root == path
