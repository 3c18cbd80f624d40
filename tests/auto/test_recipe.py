"""Tests of the rules that resolve `auto` values."""

import re
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.auto.budget import Budget, get_seconds
from cnn_classifier.auto.dataset_stats import DatasetStats, compute_stats, estimate_train_size
from cnn_classifier.auto.presets import FROM_SCRATCH_PRESETS, PRETRAINED_PRESETS, PresetTiming, pick_preset
from cnn_classifier.auto.recipe import resolve_recipe
from cnn_classifier.auto.resolved import Recipe, ResolvedValue
from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.errors import ConfigError


def resolve(
    scan: DatasetIndex,
    *overrides: str,
    step_seconds: float = 0.1,
    elapsed: float = 0.0,
    times: list[float] | None = None,
) -> Recipe:
    """Return the recipe of a network for a machine on which a step takes `step_seconds` at 128 px.

    `elapsed` is the time since the start of the command in seconds, and `times` gets a limit for each timed step.
    """
    options = ["dataset=folder", "model=resnet", "dataset.root=photos", *overrides]
    values = to_container(load_config(options, run_dir="run"))
    stats = replace(compute_stats(values, scan), prepare_seconds=0.0)
    is_sweep_job = any(override.startswith("sweep.name=") for override in overrides)
    budget = Budget(get_seconds(values, 1), None if is_sweep_job else time.time() - elapsed)

    def measure_step_seconds(values: Mapping[str, Any], limit: float) -> float:
        image_size = max(values["dataset"]["train_sizes"] or [values["dataset"]["image_size"]])
        if times is not None:
            times.append(limit)
        return step_seconds * (image_size / 128) ** 2

    return resolve_recipe(values, scan, stats, measure_step_seconds, budget)


def scan_photos(make_folder: MakeFolder, *, size: int = 200, count: int = 20) -> DatasetIndex:
    """Return the index of a folder of `count` cats and `count` dogs of `size` pixels."""
    return scan_root(make_folder({"cats": count, "dogs": count}, size=size))


def test_all_auto_values_are_resolved(make_folder: MakeFolder) -> None:
    recipe = resolve(scan_photos(make_folder))
    unresolved = {key for key, value in recipe.values["trainer"].items() if value == "auto"}
    assert unresolved <= {"accelerator", "strategy", "precision"}
    for key in (
        "dataset.image_size",
        "dataset.batch_size",
        "optimizer.lr",
        "model.stem_stride",
        "augment.affine.crop_area",
    ):
        assert recipe.get(key) != "auto", key


def test_number_of_training_images_in_a_reason_is_approximate(make_folder: MakeFolder) -> None:
    reasons = [value.reason for value in resolve(scan_photos(make_folder)).resolved]
    assert "about 28 training images" in reasons
    assert DatasetStats(1258, 64).approximate_count == "1,300"
    assert DatasetStats(40_321, 64).approximate_count == "40,000"


def test_photos_are_trained_at_growing_sizes_and_tested_at_a_larger_size(make_folder: MakeFolder) -> None:
    recipe = resolve(scan_photos(make_folder))
    assert recipe.get("dataset.train_sizes") == [64, 96, 128]
    assert recipe.get("dataset.image_size") == 144
    assert recipe.get("model.stem_stride") == 2


def test_train_sizes_of_photos_are_at_least_48_px(make_folder: MakeFolder) -> None:
    assert resolve(scan_photos(make_folder, size=64)).get("dataset.train_sizes") == [48, 48, 64]


def test_small_images_are_neither_resized_nor_cropped(make_folder: MakeFolder) -> None:
    recipe = resolve(scan_photos(make_folder, size=32))
    assert recipe.get("dataset.train_sizes") is None
    assert "dataset.train_sizes=null (small images)" in map(str, recipe.resolved)
    assert recipe.get("dataset.image_size") == 32
    assert recipe.get("model.stem_stride") == 1
    assert recipe.get("augment.affine.crop_area") == [1.0, 1.0]
    assert recipe.get("augment.affine.translate") == 1 / 16


def test_slow_machine_reduces_image_size_instead_of_epochs(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder)
    fast, slow = (resolve(scan, "budget=2m", step_seconds=seconds) for seconds in (0.5, 8.0))
    assert fast.get("dataset.train_sizes")[-1] == 128
    assert slow.get("dataset.train_sizes")[-1] == 96
    assert slow.get("trainer.max_epochs") >= 6


def test_larger_budget_gives_more_epochs_up_to_a_maximum(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder)
    short, long = (
        resolve(scan, f"budget={budget}", step_seconds=1.0).get("trainer.max_epochs") for budget in ("1m", "4m")
    )
    assert long > 4 * short  # the reserved time is the same for both budgets
    assert resolve(scan, step_seconds=1e-6).get("trainer.max_epochs") == 300


def test_values_set_by_the_user_are_unchanged(make_folder: MakeFolder) -> None:
    overrides = ["dataset.image_size=96", "trainer.max_epochs=3", "dataset.train_sizes=[48,64]", "optimizer.lr=0.5"]
    recipe = resolve(scan_photos(make_folder), *overrides)
    assert recipe.get("dataset.image_size") == 96
    assert recipe.get("trainer.max_epochs") == 3
    assert recipe.get("dataset.train_sizes") == [48, 64]
    assert recipe.get("optimizer.lr") == 0.5
    assert "optimizer.lr" not in [resolved.key for resolved in recipe.resolved]


def test_fixed_size_model_gets_one_image_size(make_folder: MakeFolder) -> None:
    recipe = resolve(scan_photos(make_folder), "model=cnn")
    assert recipe.get("dataset.train_sizes") is None
    assert recipe.get("dataset.image_size") == 128


PRETRAINED = ["model=pretrained", "model.backbone=resnet18"]


def test_pretrained_model_with_short_budget_trains_only_the_head(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder, size=300)
    fast, slow = (resolve(scan, *PRETRAINED, "budget=1m", step_seconds=seconds) for seconds in (0.1, 20.0))
    assert (fast.get("model.freeze"), fast.get("dataset.image_size")) == (0.25, 224)
    assert slow.get("model.freeze") == 1.0
    assert slow.get("optimizer.lr") > fast.get("optimizer.lr")
    assert fast.get("loss.label_smoothing") == 0.0


def test_pretrained_model_on_few_images_trains_300_steps(make_folder: MakeFolder) -> None:
    epochs = resolve(scan_photos(make_folder), *PRETRAINED, step_seconds=0.01).get("trainer.max_epochs")
    assert 300 - 28 / 16 < epochs * 28 / 16 <= 300  # batches of 16 from 28 images


def test_configured_train_sizes_determine_the_test_size(make_folder: MakeFolder) -> None:
    assert resolve(scan_photos(make_folder), "dataset.train_sizes=[160,192]").get("dataset.image_size") == 216


def test_max_steps_replaces_max_epochs_and_determines_regularization(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder)  # 28 images to train on, two steps per epoch
    recipe = resolve(scan, "trainer.max_steps=100", "trainer.accumulate_grad_batches=2")
    assert recipe.get("trainer.max_epochs") == -1
    assert "model.dropout=0.3 (100 epochs at 144 px)" in map(str, recipe.resolved)
    assert "callbacks.ema.decay=0.9 (100 steps)" in map(str, recipe.resolved)
    assert resolve(scan, "trainer.fast_dev_run=3").get("trainer.max_epochs") == 1


def test_backbone_without_weights_is_trained_from_scratch(make_folder: MakeFolder) -> None:
    recipe = resolve(scan_photos(make_folder), *PRETRAINED, "model.weights=null")
    assert recipe.get("model.freeze") == 0.0
    assert recipe.get("dataset.train_sizes") == [64, 96, 128]
    assert recipe.get("loss.label_smoothing") == 0.1


def test_pretrained_model_uses_larger_images_if_all_useful_epochs_fit(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder, size=200)
    fast, slow = (resolve(scan, *PRETRAINED, step_seconds=seconds) for seconds in (0.25, 2.5))
    assert (fast.get("dataset.image_size"), slow.get("dataset.image_size")) == (288, 224)
    assert fast.get("model.freeze") == slow.get("model.freeze") == 0.25


def test_epochs_that_fit_depend_on_the_configured_image_size(make_folder: MakeFolder) -> None:
    scan, overrides = scan_photos(make_folder, size=200), [*PRETRAINED, "budget=2m", "model.freeze=0.25"]
    recipes = [resolve(scan, *overrides, f"dataset.image_size={image_size}") for image_size in (128, 256)]
    reasons = [item.reason for recipe in recipes for item in recipe.resolved if item.key == "trainer.max_epochs"]
    small_epochs, large_epochs = (int(reason.split("; ")[-1].split(" epochs fit")[0]) for reason in reasons)
    assert small_epochs == pytest.approx(4 * large_epochs, rel=0.05)  # inference is slower, too


def test_small_images_are_enlarged_for_a_pretrained_model(make_folder: MakeFolder) -> None:
    assert resolve(scan_photos(make_folder, size=32), *PRETRAINED).get("dataset.image_size") == 128


def test_elapsed_time_is_subtracted_from_the_budget_except_in_a_sweep(make_folder: MakeFolder) -> None:
    scan = scan_photos(make_folder)
    epochs = [
        resolve(scan, "budget=4m", step_seconds=1.0, elapsed=elapsed).get("trainer.max_epochs") for elapsed in (0, 120)
    ]
    assert epochs[1] < 0.6 * epochs[0]
    # The jobs of a sweep resolve to the same values, whenever they start.
    jobs = [
        resolve(scan, "budget=4m", "sweep.name=tuning", step_seconds=1.0, elapsed=elapsed).get("trainer.max_epochs")
        for elapsed in (0, 120)
    ]
    assert jobs[0] == jobs[1] > epochs[1]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ((30, 50, 90), (128, 30)),  # the first that fits
        ((11, 6, 90), (96, 6)),
        ((0, 0, 0), (64, 0)),  # the last, if none fits
    ],
)
def test_pick_preset_returns_the_first_that_fits(epochs: tuple[int, ...], expected: tuple[int, int]) -> None:
    timings = [PresetTiming(preset, n) for preset, n in zip(FROM_SCRATCH_PRESETS, epochs, strict=True)]
    preset, num_epochs = pick_preset(timings, max_epochs=300)
    assert (preset.image_size, num_epochs) == expected


@pytest.mark.parametrize(("epochs", "expected"), [(15, (224, 15)), (16, (288, 8))])
def test_pick_preset_uses_the_large_size_if_max_epochs_fit(epochs: int, expected: tuple[int, int]) -> None:
    preset, num_epochs = pick_preset([PresetTiming(PRETRAINED_PRESETS[0], epochs, large_cost_ratio=2.0)], max_epochs=8)
    assert (preset.image_size, num_epochs) == expected


def test_presets_that_do_not_differ_are_timed_once(make_folder: MakeFolder) -> None:
    given = ["model.freeze=0", "dataset.image_size=128", "dataset.train_sizes=null"]
    times: list[float] = []
    resolve(scan_photos(make_folder), *PRETRAINED, *given, "budget=30s", step_seconds=10.0, times=times)
    assert len(times) == 1


def test_pick_preset_does_not_time_presets_after_the_one_that_fits() -> None:
    timings = (PresetTiming(preset, 20) for preset in FROM_SCRATCH_PRESETS)
    assert pick_preset(timings, max_epochs=300)[0] is FROM_SCRATCH_PRESETS[0]
    assert [timing.preset for timing in timings] == list(FROM_SCRATCH_PRESETS[1:])


def test_recipe_apply_replaces_only_auto_and_returns_a_copy() -> None:
    recipe = Recipe({"optimizer": {"lr": "auto", "momentum": 0.9}})
    resolved = recipe.apply(
        [ResolvedValue("optimizer.lr", 0.1, "test"), ResolvedValue("optimizer.momentum", 0.5, "test")]
    )
    assert resolved.values == {"optimizer": {"lr": 0.1, "momentum": 0.9}}
    assert [item.key for item in resolved.resolved] == ["optimizer.lr"]
    assert recipe.values == {"optimizer": {"lr": "auto", "momentum": 0.9}}


@pytest.mark.parametrize(
    ("class_names", "probability"),
    [
        ("cats dogs", 0.5),
        ("b d p q", 0.0),
        ("0 1 2 3 4 5 6 7 8 9", 0.0),
        ("0 1 2 3 4", 0.5),  # for example grades
        ("hand_left hand_right", 0.0),
        ("TurnLeft bright", 0.5),
    ],
)
def test_class_names_determine_the_flip_probability(
    make_folder: MakeFolder, class_names: str, probability: float
) -> None:
    scan = scan_root(make_folder(dict.fromkeys(class_names.split(), 4)))
    assert resolve(scan).get("augment.flip.p") == probability
    assert resolve(scan, "augment.flip.p=0.25").get("augment.flip.p") == 0.25


def test_images_below_32_px_are_enlarged(make_folder: MakeFolder) -> None:
    assert resolve(scan_photos(make_folder, size=28)).get("dataset.image_size") == 32


def test_resolved_values_are_printed_with_reasons(make_folder: MakeFolder) -> None:
    lines = [str(item) for item in resolve(scan_photos(make_folder)).resolved]
    assert "dataset.image_size=144 (median image size 200 px)" in lines
    assert "dataset.train_sizes=[64,96,128] (smaller images first, to save time)" in lines
    epochs = r"trainer\.max_epochs=300 \(accuracy plateaus; [\d,]+ epochs fit into 15 minutes\)"
    assert any(re.fullmatch(epochs, line) for line in lines)


@pytest.mark.parametrize(
    ("budget", "seconds"), [("90s", 90), ("15m", 900), ("1h30m", 5400), ("0.5h", 1800), ("auto", 900)]
)
def test_budget_is_parsed_as_a_duration(budget: str, seconds: float) -> None:
    assert parse_duration(budget, 100) == seconds
    assert parse_duration("auto", 16_000) == 1800


@pytest.mark.parametrize("budget", ["soon", "15", "m15", "-3m", "15 m", ""])
def test_invalid_budget_raises_config_error(budget: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot be parsed: expected a time such as 90s, 15m or 1h30m"):
        parse_duration(budget, 100)


def test_estimated_train_size_equals_the_size_of_the_split(make_folder: MakeFolder) -> None:
    values = to_container(load_config(["dataset=folder", "dataset.root=photos"], run_dir="run"))
    assert estimate_train_size(values, scan_photos(make_folder, count=50)) == 70
    with_test = scan_root(make_folder({"train/a": 20, "train/b": 20, "test/a": 5, "test/b": 5}, name="with_test"))
    assert estimate_train_size(values, with_test) == 36
    values["dataset"]["max_per_class"] = 5
    assert estimate_train_size(values, with_test) == 9
    values["dataset"]["max_per_class"] = None
    with_val = scan_root(make_folder({"train/a": 50, "train/b": 50, "val/a": 5, "val/b": 5}, name="with_val"))
    assert estimate_train_size(values, with_val) == 80


def test_max_time_shortens_the_budget() -> None:
    def seconds(budget: str, max_time: Any) -> float:
        return get_seconds({"budget": budget, "trainer": {"max_time": max_time}}, 1)

    assert seconds("15m", None) == 900
    assert seconds("auto", "00:00:05:30") == 330
    assert seconds("15m", {"minutes": 2}) == 120
    assert seconds("15m", {"hours": 2}) == 900
