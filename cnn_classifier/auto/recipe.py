"""Fill in what a user leaves `auto`, from the data and the speed of the machine, and say why.

The values were found on validation images of cats and dogs, see docs/results.md.
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import digits
from typing import Any

from cnn_classifier.auto.budget import format_duration, remaining_training_seconds
from cnn_classifier.auto.dataset_stats import estimate_train_size, median_image_size
from cnn_classifier.auto.presets import MIN_PROGRESSIVE_SIZE, get_presets, relative_cost, resolve_image_size
from cnn_classifier.auto.resolved import Recipe
from cnn_classifier.config.compose import mark_auto
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data import AUTO
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.models.validation import RESNET_TARGET, is_pretrained

MUON_TARGET = "cnn_classifier.training.muon.Muon"
SMALL_IMAGE_TRANSLATE = 1 / 16  # of tiny images: 2 of 32 px
LONG_RUN_EPOCHS = 24  # epochs from which on stronger changes pay
# More often than so, images are hardly worth seeing again; many are worth a good number of epochs all the same.
MAX_EPOCHS, MAX_SAMPLES_SEEN, MIN_EPOCHS_LARGE_DATA = 300, 900_000, 60
MAX_EPOCHS_PRETRAINED, MIN_STEPS_PRETRAINED = 8, 300  # what has seen a million photos needs few looks, but some steps
MeasureStepSeconds = Callable[[Mapping[str, Any], float], float]
DIRECTIONS = ("left", "right")


@dataclass(frozen=True)
class DatasetStats:
    """What was seen of the data.

    Args:
        images: About how many there are to train on.
        side: The median of their shorter sides, in pixels.
    """

    num_images: int
    median_size: int


def resolve_recipe(values: Mapping[str, Any], scan: DatasetIndex, measure_step_seconds: MeasureStepSeconds) -> Recipe:
    """Settle every `auto`.

    Args:
        values: The plain configuration.
        scan: What the folder holds.
        step_seconds: Measures how long a training step with these values takes on this machine; less exactly where
            it is far from the seconds that it may take.

    Raises:
        ConfigError: If the budget cannot be read.
    """
    recipe = Recipe(mark_auto(values))
    stats = DatasetStats(estimate_train_size(values, scan), median_image_size(scan))
    recipe.resolve("augment.flip.p", *flip_probability(scan.class_names))
    recipe.resolve("dataset.batch_size", choose_batch_size(recipe, stats), f"{stats.num_images} training images")
    steps_per_epoch = max(stats.num_images // recipe.get("dataset.batch_size"), 1)
    if (max_steps := recipe.get("trainer.max_steps")) != -1:
        recipe.resolve("trainer.max_epochs", math.ceil(max_steps / steps_per_epoch), "trainer.max_steps")
    if recipe.get("trainer.max_epochs") == AUTO:
        resolve_epochs(recipe, stats, steps_per_epoch, measure_step_seconds)
    resolve_image_size(recipe, stats.median_size, get_presets(recipe.get("model"))[0])
    recipe.resolve("optimizer.lr", *choose_learning_rate(recipe))
    recipe.resolve("loss.label_smoothing", 0.0 if is_pretrained(recipe.get("model")) else 0.1, "as suits the network")
    resolve_regularization(recipe, recipe.get("trainer.max_epochs") or 1)
    total_steps = max(recipe.get("trainer.max_epochs") or 1, 1) * steps_per_epoch
    recipe.resolve("callbacks.ema.decay", round(1 - 1 / max(0.03 * total_steps, 10), 4), f"{total_steps} steps")
    return recipe


def resolve_epochs(
    recipe: Recipe, stats: DatasetStats, steps_per_epoch: int, measure_step_seconds: MeasureStepSeconds
) -> None:
    """As many epochs as the budget buys, of images as large as leaves time for enough of them."""
    budget, start_time = parse_duration(recipe.get("budget"), stats.num_images), time.perf_counter()

    def remaining_seconds() -> float:
        is_sweep_job = recipe.get("sweep.name")  # its first job's trials are for all; they are to be alike
        return remaining_training_seconds(budget, elapsed=0.0 if is_sweep_job else time.perf_counter() - start_time)

    for preset in get_presets(recipe.get("model")):
        candidate = Recipe(recipe.values)
        resolve_image_size(candidate, stats.median_size, preset)
        resolve_regularization(candidate, LONG_RUN_EPOCHS)
        effective_steps = steps_per_epoch * relative_cost(candidate.get("dataset.train_sizes")) * preset.epoch_overhead
        max_step_seconds = remaining_seconds() / preset.min_epochs / effective_steps
        epoch_seconds = measure_step_seconds(candidate.values, max_step_seconds) * effective_steps
        epochs = int(remaining_seconds() / epoch_seconds)
        if epochs >= preset.min_epochs:
            break
    max_epochs = compute_max_epochs(recipe, stats)
    if preset.large_image_size:
        larger_preset, larger_recipe = replace(preset, image_size=preset.large_image_size), Recipe(recipe.values)
        resolve_image_size(larger_recipe, stats.median_size, larger_preset)
        cost_ratio = (larger_recipe.get("dataset.image_size") / candidate.get("dataset.image_size")) ** 2
        if epochs >= max_epochs * cost_ratio:
            preset, epochs = larger_preset, int(epochs / cost_ratio)
    resolve_image_size(recipe, stats.median_size, preset)
    budget_reason = f"{epochs} fit into {format_duration(budget)}"
    reason = budget_reason if epochs <= max_epochs else f"more gain little; {budget_reason}"
    recipe.resolve("trainer.max_epochs", max(1, min(epochs, max_epochs)), reason)


def compute_max_epochs(recipe: Recipe, stats: DatasetStats) -> int:
    """Epochs beyond which more gain little."""
    if is_pretrained(recipe.get("model")):
        return max(MAX_EPOCHS_PRETRAINED, MIN_STEPS_PRETRAINED * recipe.get("dataset.batch_size") // stats.num_images)
    return min(MAX_EPOCHS, max(MAX_SAMPLES_SEEN // stats.num_images, MIN_EPOCHS_LARGE_DATA))


def resolve_regularization(recipe: Recipe, epochs: int) -> None:
    """Of dropout, and of changes to images: a long run would learn them by heart.

    Tiny images are shifted alone: crops would enlarge what they show, and tests do not; turns would blur it.
    """
    image_size = recipe.get("dataset.image_size")
    reason, is_small = f"{epochs} epochs of {image_size} px", image_size < MIN_PROGRESSIVE_SIZE
    min_crop_area = 1.0 if is_small else 0.7 if epochs < LONG_RUN_EPOCHS else 0.55
    recipe.resolve("augment.affine.crop_area", [min_crop_area, 1.0], reason)
    recipe.resolve("augment.affine.degrees", 0.0 if is_small else 11.5, reason)
    recipe.resolve("augment.affine.translate", SMALL_IMAGE_TRANSLATE if is_small else 0.0, reason)
    recipe.resolve("model.dropout", 0.1 if epochs < LONG_RUN_EPOCHS else 0.3, reason)


def choose_batch_size(recipe: Recipe, stats: DatasetStats) -> int:
    """Larger where there are more images; more so for Muon, whose steps cost as much however few images."""
    if stats.num_images < 1000:
        return 32 if stats.num_images >= 300 else 16
    small_batch, large_batch = (128, 512) if recipe.get("optimizer._target_") == MUON_TARGET else (64, 128)
    return small_batch if stats.num_images < 30_000 else large_batch


def choose_learning_rate(recipe: Recipe) -> tuple[float, str]:
    """A rate that grows with the root of the batch (arXiv:2205.10287)."""
    if recipe.get("optimizer._target_") == MUON_TARGET:
        base_lr = 0.02 if is_pretrained(recipe.get("model")) else 0.1
    elif is_pretrained(recipe.get("model")):
        base_lr = 3e-3 if recipe.get("model.freeze") == 1 else 5e-4
    else:
        base_lr = 2e-3 if recipe.get("model._target_") == RESNET_TARGET else 1e-3
    batch_size = recipe.get("dataset.batch_size")
    return round(base_lr * math.sqrt(batch_size / 64), 6), f"batches of {batch_size}"


def flip_probability(class_names: Sequence[str]) -> tuple[float, str]:
    """The share of training images to mirror, and why: none of letters, digits, and what has a left and a right."""
    if all(len(name) == 1 and name.isalpha() for name in class_names) or set(digits) <= set(class_names):
        return 0.0, "classes named as letters or digits, which have no mirror images"
    words = {word for name in class_names for word in re.split(r"[\W_\d]+", name.lower())}
    if words.issuperset(DIRECTIONS):
        return 0.0, "left and right are classes"
    return 0.5, "mirror images count as of the same class; 0 where they do not"
