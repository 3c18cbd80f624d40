"""What is left `auto` is settled by the data and by the speed of the machine; what a user gives stays."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import astuple
from typing import Any

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.auto.dataset_stats import estimate_train_size
from cnn_classifier.auto.recipe import resolve_recipe
from cnn_classifier.auto.resolved import Recipe
from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError


def recipe_for(scan: DatasetIndex, *words: str, step: float = 0.1) -> Recipe:
    """The recipe for a folder on a machine whose steps take so many seconds at 128 px, and less for smaller images."""
    values = to_container(load_config(["dataset=folder", "dataset.root=photos", *words], run_dir="run"))

    def step_seconds(values: Mapping[str, Any], limit: float) -> float:
        side = max(values["dataset"]["train_sizes"] or [values["dataset"]["image_size"]])
        return step * (side / 128) ** 2

    return resolve_recipe(values, scan, step_seconds)


def photos(make_folder: MakeFolder, *, size: int = 200, count: int = 20) -> DatasetIndex:
    return scan_root(make_folder({"cats": count, "dogs": count}, size=size))


def test_nothing_is_left_open(make_folder: MakeFolder) -> None:
    recipe = recipe_for(photos(make_folder))
    open_still = {key: value for key, value in recipe.values["trainer"].items() if value == "auto"}
    assert set(open_still) <= {"accelerator", "strategy", "precision"}
    for key in (
        "dataset.image_size",
        "dataset.batch_size",
        "optimizer.lr",
        "model.stem_stride",
        "augment.affine.crop_area",
    ):
        assert recipe.get(key) != "auto", key


def test_photos_grow_and_are_tested_larger_than_they_were_trained_on(make_folder: MakeFolder) -> None:
    recipe = recipe_for(photos(make_folder))
    assert recipe.get("dataset.train_sizes") == [64, 96, 128]
    assert recipe.get("dataset.image_size") == 144
    assert recipe.get("model.stem_stride") == 2


def test_photos_do_not_begin_so_small_that_nothing_is_learnt(make_folder: MakeFolder) -> None:
    assert recipe_for(photos(make_folder, size=64)).get("dataset.train_sizes") == [48, 48, 64]


def test_tiny_images_stay_as_they_are(make_folder: MakeFolder) -> None:
    recipe = recipe_for(photos(make_folder, size=32))
    assert recipe.get("dataset.train_sizes") is None
    assert recipe.get("dataset.image_size") == 32
    assert recipe.get("model.stem_stride") == 1
    assert recipe.get("augment.affine.crop_area") == [1.0, 1.0]
    assert recipe.get("augment.affine.translate") == 1 / 16


def test_a_slow_machine_sees_smaller_images_rather_than_few_epochs(make_folder: MakeFolder) -> None:
    scan = photos(make_folder)
    fast, slow = (recipe_for(scan, "budget=2m", step=step) for step in (1.0, 16.0))
    assert fast.get("dataset.train_sizes")[-1] == 128
    assert slow.get("dataset.train_sizes")[-1] == 96
    assert slow.get("trainer.max_epochs") >= 6


def test_a_larger_budget_buys_more_epochs_and_some_number_is_enough(make_folder: MakeFolder) -> None:
    scan = photos(make_folder)
    short, long = (recipe_for(scan, f"budget={budget}", step=1.0).get("trainer.max_epochs") for budget in ("1m", "4m"))
    assert long > 4 * short  # what is not training takes as long either way
    assert recipe_for(scan, step=1e-6).get("trainer.max_epochs") == 300


def test_what_the_user_gives_stays(make_folder: MakeFolder) -> None:
    words = ["dataset.image_size=96", "trainer.max_epochs=3", "dataset.train_sizes=[48,64]", "optimizer.lr=0.5"]
    recipe = recipe_for(photos(make_folder), *words)
    assert recipe.get("dataset.image_size") == 96
    assert recipe.get("trainer.max_epochs") == 3
    assert recipe.get("dataset.train_sizes") == [48, 64]
    assert recipe.get("optimizer.lr") == 0.5
    assert "optimizer.lr" not in [settled.key for settled in recipe.resolved]


def test_a_network_for_one_size_gets_one(make_folder: MakeFolder) -> None:
    recipe = recipe_for(photos(make_folder), "model=cnn")
    assert recipe.get("dataset.train_sizes") is None
    assert recipe.get("dataset.image_size") == 128


PRETRAINED = ["model=pretrained", "model.backbone=resnet18"]


def test_the_head_of_a_pretrained_network_learns_alone_where_time_is_short(make_folder: MakeFolder) -> None:
    scan = photos(make_folder, size=300)
    fast, slow = (recipe_for(scan, *PRETRAINED, "budget=1m", step=step) for step in (0.1, 20.0))
    assert (fast.get("model.freeze"), fast.get("dataset.image_size")) == (0.25, 224)
    assert slow.get("model.freeze") == 1.0
    assert slow.get("optimizer.lr") > fast.get("optimizer.lr")
    assert fast.get("loss.label_smoothing") == 0.0


def test_a_pretrained_network_sees_few_images_for_some_hundred_steps(make_folder: MakeFolder) -> None:
    epochs = recipe_for(photos(make_folder), *PRETRAINED, step=0.01).get("trainer.max_epochs")
    assert 300 - 28 / 16 < epochs * 28 / 16 <= 300  # batches of 16 from 28 images


def test_images_are_tested_larger_than_the_sizes_that_a_user_gives(make_folder: MakeFolder) -> None:
    assert recipe_for(photos(make_folder), "dataset.train_sizes=[160,192]").get("dataset.image_size") == 216


def test_a_number_of_steps_decides_on_the_epochs(make_folder: MakeFolder) -> None:
    scan = photos(make_folder)  # 28 images to train on, a step an epoch
    assert recipe_for(scan, "trainer.max_steps=7").get("trainer.max_epochs") == 7


def test_a_backbone_without_weights_is_trained_from_scratch(make_folder: MakeFolder) -> None:
    recipe = recipe_for(photos(make_folder), *PRETRAINED, "model.weights=null")
    assert recipe.get("model.freeze") == 0.0
    assert recipe.get("dataset.train_sizes") == [64, 96, 128]
    assert recipe.get("loss.label_smoothing") == 0.1


def test_a_backbone_sees_larger_images_where_there_is_time_for_all_epochs_that_help(make_folder: MakeFolder) -> None:
    scan = photos(make_folder, size=200)
    ample, short = (recipe_for(scan, *PRETRAINED, step=step) for step in (0.5, 5.0))
    assert (ample.get("dataset.image_size"), short.get("dataset.image_size")) == (288, 224)
    assert ample.get("model.freeze") == short.get("model.freeze") == 0.25


def test_epochs_are_counted_for_the_image_size_that_a_user_gives(make_folder: MakeFolder) -> None:
    scan, words = photos(make_folder, size=200), [*PRETRAINED, "budget=2m", "model.freeze=0.25"]
    asked, twice = (recipe_for(scan, *words, f"dataset.image_size={side}") for side in (128, 256))
    whys = [why for recipe in (asked, twice) for key, _, why in map(astuple, recipe.resolved) if key.endswith("epochs")]
    fits, fewer = (int(why.split("; ")[-1].split(" fit")[0]) for why in whys)
    assert fits == pytest.approx(4 * fewer, rel=0.01)


def test_tiny_images_are_enlarged_for_a_backbone(make_folder: MakeFolder) -> None:
    assert recipe_for(photos(make_folder, size=32), *PRETRAINED).get("dataset.image_size") == 128


def test_the_time_that_trials_take_is_not_there_for_training(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, clock = photos(make_folder), itertools.count(step=10.0)
    quick = recipe_for(scan, "budget=4m", step=1.0).get("trainer.max_epochs")
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    assert recipe_for(scan, "budget=4m", step=1.0).get("trainer.max_epochs") < quick
    in_a_sweep = recipe_for(scan, "budget=4m", "sweep.name=tuning", step=1.0)  # the others need no trials
    assert in_a_sweep.get("trainer.max_epochs") == quick


@pytest.mark.parametrize(
    ("names", "share"),
    [
        ("cats dogs", 0.5),
        ("b d p q", 0.0),
        ("0 1 2 3 4 5 6 7 8 9", 0.0),
        ("0 1 2 3 4", 0.5),  # grades, say
        ("hand_left hand_right", 0.0),
        ("TurnLeft bright", 0.5),
    ],
)
def test_what_has_a_left_and_a_right_is_not_mirrored(make_folder: MakeFolder, names: str, share: float) -> None:
    scan = scan_root(make_folder(dict.fromkeys(names.split(), 4)))
    assert recipe_for(scan).get("augment.flip.p") == share
    assert recipe_for(scan, "augment.flip.p=0.25").get("augment.flip.p") == 0.25


def test_pixels_of_tiny_images_are_not_thrown_away(make_folder: MakeFolder) -> None:
    assert recipe_for(photos(make_folder, size=28)).get("dataset.image_size") == 32


def test_every_choice_is_told_with_its_reason(make_folder: MakeFolder) -> None:
    told = [str(settled) for settled in recipe_for(photos(make_folder)).resolved]
    assert "dataset.train_sizes=[64,96,128] (small images first, which are quick)" in told
    assert any(line.startswith("trainer.max_epochs=") for line in told)


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("0.5h", 1800), ("auto", 900)]
)
def test_a_budget_is_a_time(budget: str, seconds: float) -> None:
    assert parse_duration(budget, 100) == seconds
    assert parse_duration("auto", 16_000) == 1800


@pytest.mark.parametrize("budget", ["soon", "15", "m15", "-3m", "15 m", ""])
def test_what_is_no_time_is_refused(budget: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read; expected a time such as 90s, 15m or 1h30m"):
        parse_duration(budget, 100)


def test_the_images_to_train_on_are_counted_before_the_split(make_folder: MakeFolder) -> None:
    values = to_container(load_config(["dataset=folder", "dataset.root=photos"], run_dir="run"))
    assert estimate_train_size(values, photos(make_folder, count=50)) == 70
    given = scan_root(make_folder({"train/a": 20, "train/b": 20, "test/a": 5, "test/b": 5}, name="given"))
    assert estimate_train_size(values, given) == 36
    values["dataset"]["max_per_class"] = 5
    assert estimate_train_size(values, given) == 9
    learn_and_val = scan_root(make_folder({"train/a": 50, "train/b": 50, "val/a": 5, "val/b": 5}, name="learn_and_val"))
    assert (
        estimate_train_size(
            to_container(load_config(["dataset=folder", "dataset.root=photos"], run_dir="run")), learn_and_val
        )
        == 80
    )
