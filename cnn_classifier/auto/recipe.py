"""The rules that resolve `auto` values from the dataset and from the speed of the machine.

The constants were tuned on validation images of cats and dogs, see docs/results.md.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cnn_classifier.auto.budget import Budget, format_duration, report_seconds
from cnn_classifier.auto.dataset_stats import DatasetStats, estimate_batches
from cnn_classifier.auto.flips import FLIP_KEY, flip_probability
from cnn_classifier.auto.presets import (
    MIN_PROGRESSIVE_SIZE,
    PresetTiming,
    choose_image_sizes,
    get_presets,
    pick_preset,
    relative_cost,
)
from cnn_classifier.auto.resolved import Recipe, ResolvedValue
from cnn_classifier.config.compose import mark_auto
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.class_names import pluralize
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.models.validation import RESNET_TARGET, is_pretrained

MUON_TARGET = "cnn_classifier.training.muon.Muon"
SMALL_IMAGE_TRANSLATE = 1 / 16  # fraction of the image size: 2 of 32 px
LONG_RUN_EPOCHS = 24  # number of epochs from which on stronger regularization improves accuracy
# Upper bounds on epochs and on images seen, beyond which accuracy plateaus. Large datasets get at least
# `MIN_EPOCHS_LARGE_DATA` epochs if the budget allows it.
MAX_EPOCHS, MAX_SAMPLES_SEEN, MIN_EPOCHS_LARGE_DATA = 300, 900_000, 60
MAX_EPOCHS_PRETRAINED, MIN_STEPS_PRETRAINED = 8, 300  # a pretrained model needs few epochs, but a minimum of steps
MIN_TRAINING_SECONDS = 1.0  # for budgets that are over before the training
# The duration of inference in float32 divided by that of a training step; it is measured before the training.
INFERENCE_COST = 0.5
MeasureStepSeconds = Callable[[Mapping[str, Any], float], float]


def resolve_recipe(
    values: Mapping[str, Any],
    index: DatasetIndex,
    stats: DatasetStats,
    measure_step_seconds: MeasureStepSeconds,
    budget: Budget,
) -> Recipe:
    """Resolve all `auto` values that do not need decoded images.

    Args:
        values: The plain configuration.
        index: The index of the dataset.
        stats: The statistics of the dataset.
        measure_step_seconds: A function that returns the duration in seconds of a training step with a configuration
            on this machine. The second argument is a limit in seconds; the result may be approximate if the step is
            much slower than the limit.
        budget: The budget of the command.
    """
    recipe = Recipe(mark_auto(values))
    batch_size = choose_batch_size(recipe, stats)
    recipe = recipe.apply(
        [
            ResolvedValue(FLIP_KEY, *flip_probability(index.class_names)),
            ResolvedValue("dataset.batch_size", batch_size, f"about {stats.approximate_count} training images"),
        ]
    )
    steps_per_epoch = estimate_batches(recipe.values, stats.num_images)
    recipe = recipe.apply(choose_fixed_epochs(recipe))
    epochs = recipe.get("trainer.max_epochs") or 1
    if (max_steps := recipe.get("trainer.max_steps")) != -1:
        epochs = math.ceil(max_steps * recipe.get("trainer.accumulate_grad_batches") / steps_per_epoch)
    preset = get_presets(recipe.get("model"))[0]
    epochs_values = []
    if recipe.get("trainer.max_epochs") == AUTO:
        timings = time_presets(recipe, stats, steps_per_epoch, measure_step_seconds, budget)
        max_epochs = compute_max_epochs(recipe, stats.num_images)
        preset, epochs = pick_preset(timings, max_epochs)
        epochs_values = [choose_epochs(epochs, max_epochs, budget.seconds)]
        epochs = epochs_values[0].value
    recipe = recipe.apply([*choose_image_sizes(recipe, stats.median_size, preset), *epochs_values])
    return recipe.apply(choose_hyperparameters(recipe, max(epochs, 1), steps_per_epoch))


def choose_fixed_epochs(recipe: Recipe) -> list[ResolvedValue]:
    """Return the number of epochs of runs whose length does not depend on the budget."""
    if recipe.get("trainer.fast_dev_run"):
        return [ResolvedValue("trainer.max_epochs", 1, "trainer.fast_dev_run")]
    max_steps = recipe.get("trainer.max_steps")
    return [ResolvedValue("trainer.max_epochs", -1, f"trainer.max_steps={max_steps}")] if max_steps != -1 else []


def time_presets(
    recipe: Recipe,
    stats: DatasetStats,
    steps_per_epoch: int,
    measure_step_seconds: MeasureStepSeconds,
    budget: Budget,
) -> Iterator[PresetTiming]:
    """Time the presets in order of preference, each when it is requested."""
    flip, timed = bool(recipe.get("test_time_flip")), list[Mapping[str, Any]]()
    for preset in get_presets(recipe.get("model")):
        candidate = recipe.apply(choose_image_sizes(recipe, stats.median_size, preset))
        if candidate.values in timed:  # the values of the user leave no choice
            continue
        timed.append(candidate.values)
        image_size = candidate.get("dataset.image_size")
        candidate = candidate.apply(choose_regularization(image_size, LONG_RUN_EPOCHS))
        effective_steps = steps_per_epoch * relative_cost(candidate.get("dataset.train_sizes")) * preset.epoch_overhead
        training_seconds = max(budget.remaining(stats.prepare_seconds), MIN_TRAINING_SECONDS)
        step_seconds = measure_step_seconds(candidate.values, training_seconds / preset.min_epochs / effective_steps)
        inference_seconds = INFERENCE_COST * step_seconds / recipe.get("dataset.batch_size")
        reserve = stats.prepare_seconds + report_seconds(stats.split_sizes, inference_seconds, flip=flip)
        epochs = int(max(budget.remaining(reserve), 0.0) / (step_seconds * effective_steps))
        large_preset = replace(preset, image_size=preset.large_image_size or preset.image_size)
        large_candidate = recipe.apply(choose_image_sizes(recipe, stats.median_size, large_preset))
        yield PresetTiming(preset, epochs, (large_candidate.get("dataset.image_size") / image_size) ** 2)


def compute_max_epochs(recipe: Recipe, num_images: int) -> int:
    """Return the number of epochs beyond which accuracy does not improve."""
    if is_pretrained(recipe.get("model")):
        return max(MAX_EPOCHS_PRETRAINED, MIN_STEPS_PRETRAINED * recipe.step_size // num_images)
    return min(MAX_EPOCHS, max(MAX_SAMPLES_SEEN // num_images, MIN_EPOCHS_LARGE_DATA))


def choose_epochs(epochs: int, max_epochs: int, budget: float) -> ResolvedValue:
    """Return the number of epochs, of which `epochs` fit the budget in seconds and `max_epochs` are useful."""
    reason = f"{pluralize(epochs, 'epoch')} fit into {format_duration(budget)}"
    if epochs > max_epochs:
        reason = f"accuracy plateaus; {reason}"
    return ResolvedValue("trainer.max_epochs", max(1, min(epochs, max_epochs)), reason)


def choose_hyperparameters(recipe: Recipe, epochs: int, steps_per_epoch: int) -> list[ResolvedValue]:
    """Return the learning rate, regularization and weight averaging of a run."""
    learning_rate, batch_size = choose_learning_rate(recipe), recipe.step_size
    label_smoothing = (0.0, "pretrained model") if is_pretrained(recipe.get("model")) else (0.1, "trained from scratch")
    total_steps = math.ceil(epochs * steps_per_epoch / recipe.get("trainer.accumulate_grad_batches"))
    return [
        ResolvedValue("optimizer.lr", learning_rate, f"batch size {batch_size}"),
        ResolvedValue("loss.label_smoothing", *label_smoothing),
        *choose_regularization(recipe.get("dataset.image_size"), epochs),
        ResolvedValue(
            "callbacks.ema.decay", round(1 - 1 / max(0.03 * total_steps, 10), 4), pluralize(total_steps, "step")
        ),
    ]


def choose_regularization(image_size: int, epochs: int) -> list[ResolvedValue]:
    """Return dropout and augmentation strength; longer runs need stronger regularization.

    Small images are only translated: crops would enlarge the objects, which the sizes of test images do not make up
    for, and rotations would blur them.
    """
    reason, is_small = f"{pluralize(epochs, 'epoch')} at {image_size} px", image_size < MIN_PROGRESSIVE_SIZE
    min_crop_area = 1.0 if is_small else 0.7 if epochs < LONG_RUN_EPOCHS else 0.55
    return [
        ResolvedValue("augment.affine.crop_area", [min_crop_area, 1.0], reason),
        ResolvedValue("augment.affine.degrees", 0.0 if is_small else 11.5, reason),
        ResolvedValue("augment.affine.translate", SMALL_IMAGE_TRANSLATE if is_small else 0.0, reason),
        ResolvedValue("model.dropout", 0.1 if epochs < LONG_RUN_EPOCHS else 0.3, reason),
    ]


def choose_batch_size(recipe: Recipe, stats: DatasetStats) -> int:
    """Return a batch size that grows with the dataset; larger for Muon, whose step costs the same for any batch."""
    if stats.num_images < 1000:
        return 32 if stats.num_images >= 300 else 16
    small_batch, large_batch = (128, 512) if recipe.get("optimizer._target_") == MUON_TARGET else (64, 128)
    return small_batch if stats.num_images < 30_000 else large_batch


def choose_learning_rate(recipe: Recipe) -> float:
    """Return a learning rate that grows with the square root of the batch size (arXiv:2205.10287)."""
    if recipe.get("optimizer._target_") == MUON_TARGET:
        base_lr = 0.02 if is_pretrained(recipe.get("model")) else 0.1
    elif is_pretrained(recipe.get("model")):
        is_fitted = recipe.get("model.freeze_norm")  # in stages: larger steps would undo the fit of the head
        base_lr = 3e-3 if recipe.get("model.freeze") == 1 else 1e-4 if is_fitted else 5e-4
    else:
        base_lr = 2e-3 if recipe.get("model._target_") == RESNET_TARGET else 1e-3
    return round(base_lr * math.sqrt(recipe.step_size / 64), 6)
