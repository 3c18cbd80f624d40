"""Training presets, and the image sizes that follow from a preset and from the images."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cnn_classifier.auto.resolved import Recipe, ResolvedValue
from cnn_classifier.data.loading.epochs import FIXED_COST_SIDE
from cnn_classifier.models.validation import PRETRAINED_TARGET, RESNET_TARGET, is_pretrained

VARIABLE_SIZE_MODELS = (RESNET_TARGET, PRETRAINED_TARGET)
# From this image size on, training starts with smaller images (progressive resizing, fast.ai), and the model is tested
# on images larger by an eighth, because random crops enlarge the objects in training images (arXiv:1906.06423).
MIN_PROGRESSIVE_SIZE = 64
PROGRESSIVE_FACTORS = (0.5, 0.75, 1.0)
MIN_PHOTO_SIZE = 48  # at 32 px, a model learns almost nothing from photos (docs/results.md)
TEST_SIZE_FACTOR = 1.125
MIN_STRIDED_SIZE = 64  # smallest image size for which the first convolution has stride 2
MIN_SIZE, MIN_PRETRAINED_SIZE = 32, 128  # smaller images are enlarged, because the last feature maps would be too small
MAX_UPSCALE = 1.5  # pretrained backbones are more accurate on small photos if these are enlarged (docs/results.md)
# The duration of an epoch divided by that of its training steps; it covers validation and checkpoints. If only the head
# is trained, validation costs nearly as much as training.
EPOCH_OVERHEAD, HEAD_EPOCH_OVERHEAD = 1.1, 1.3
WIDE_CHANNELS, NARROW_CHANNELS = (48, 96, 192, 384), (32, 64, 128, 256)


@dataclass(frozen=True)
class Preset:
    """A combination of image size and model size.

    Args:
        image_size: The size of the images in the last training epochs, in pixels.
        min_epochs: The number of epochs below which the next preset is more accurate.
        large_image_size: A larger image size in pixels, used when the budget allows all useful epochs. It is not timed
            itself, because steps with large images are slow.
        freeze: The `model.freeze` of a pretrained model.
        widths: The `model.widths` of `resnet`.
        epoch_overhead: The duration of an epoch divided by that of its training steps.
    """

    image_size: int
    min_epochs: int
    large_image_size: int | None = None
    freeze: float = 0.0
    widths: Sequence[int] = WIDE_CHANNELS
    epoch_overhead: float = EPOCH_OVERHEAD


# Training presets in order of preference; the first that fits the budget is used. From scratch, a small model does not
# benefit from more than 128 px, and 7 epochs of up to 96 px are better than 18 of up to 64 px (cats and dogs: 0.899
# against 0.886). A pretrained model of which only the head is trained is better than one of which all layers are
# trained for one or two epochs: 0.982 against 0.965 (docs/results.md).
FROM_SCRATCH_PRESETS = (Preset(128, 12), Preset(96, 6, widths=NARROW_CHANNELS), Preset(64, 1, widths=NARROW_CHANNELS))
PRETRAINED_PRESETS = (
    Preset(224, 6, large_image_size=288, freeze=0.25),
    Preset(224, 3, freeze=1.0, epoch_overhead=HEAD_EPOCH_OVERHEAD),
    Preset(160, 1, freeze=1.0, epoch_overhead=HEAD_EPOCH_OVERHEAD),
)


@dataclass(frozen=True)
class PresetTiming:
    """The number of epochs of a preset that fit the budget.

    Args:
        preset: The preset.
        epochs: The number of epochs that fit the budget.
        large_cost_ratio: The cost of an epoch with `large_image_size`, divided by that with `image_size`.
    """

    preset: Preset
    epochs: int
    large_cost_ratio: float = 1.0


def get_presets(model: Mapping[str, Any]) -> Sequence[Preset]:
    """Return the presets for a model, which is given as its plain config."""
    return PRETRAINED_PRESETS if is_pretrained(model) else FROM_SCRATCH_PRESETS


def list_image_sizes(model: Mapping[str, Any]) -> list[int]:
    """Return image sizes in pixels, from the smallest to the largest, that the presets of a model may select."""
    presets = get_presets(model)
    smallest = [MIN_PRETRAINED_SIZE] if is_pretrained(model) else [MIN_SIZE, MIN_PHOTO_SIZE]
    largest = max(preset.large_image_size or round(preset.image_size * TEST_SIZE_FACTOR) for preset in presets)
    return [*smallest, *sorted(preset.image_size for preset in presets), largest]


def pick_preset(timings: Iterable[PresetTiming], max_epochs: int) -> tuple[Preset, int]:
    """Return the first preset that fits the budget, or else the last one, and its number of epochs.

    Args:
        timings: The timings of at least one preset, in order of preference. A lazy iterable is not consumed beyond the
            preset that is returned, so that the others need not be timed.
        max_epochs: The number of epochs beyond which accuracy does not improve. If it fits the budget with the larger
            image size of the preset, that size is used.
    """
    for timing in timings:
        if timing.epochs >= timing.preset.min_epochs:
            break
    preset, epochs = timing.preset, timing.epochs
    if preset.large_image_size and epochs >= max_epochs * timing.large_cost_ratio:
        return replace(preset, image_size=preset.large_image_size), int(epochs / timing.large_cost_ratio)
    return preset, epochs


def choose_image_sizes(recipe: Recipe, median_size: int, preset: Preset) -> list[ResolvedValue]:
    """Return the image sizes, and the model options that depend on them or on the preset.

    Args:
        recipe: The configuration. The values that the user set determine the others.
        median_size: The median of the shorter sides of the images, in pixels.
        preset: The preset that fits the budget.
    """
    image_size, size_reason = choose_test_size(recipe, median_size, preset)
    image_size = recipe.get_or("dataset.image_size", image_size)
    train_size = round(image_size / TEST_SIZE_FACTOR / 8) * 8
    widths_reason = "reduced to fit the budget" if preset.widths == NARROW_CHANNELS else "full width"
    freeze_reasons = {0.0: "trained from scratch", 1.0: "only the head, to fit the budget"}
    stem_stride = 2 if train_size >= MIN_STRIDED_SIZE else 1
    return [
        ResolvedValue("model.widths", list(preset.widths), widths_reason),
        ResolvedValue("model.freeze", preset.freeze, freeze_reasons.get(preset.freeze, "the head first, then all")),
        ResolvedValue("dataset.image_size", image_size, size_reason),
        ResolvedValue("dataset.train_sizes", *choose_train_sizes(recipe, train_size)),
        ResolvedValue("model.stem_stride", stem_stride, f"image size {image_size} px"),
    ]


def choose_test_size(recipe: Recipe, median_size: int, preset: Preset) -> tuple[int, str]:
    """Return the size of validation and test images in pixels, and the reason."""
    reason = f"median image size {median_size} px"
    if is_pretrained(recipe.get("model")):
        upscaled_size = int(max(median_size * MAX_UPSCALE, MIN_PRETRAINED_SIZE)) // 32 * 32
        return min(preset.image_size, upscaled_size), f"pretrained model, {reason}"
    if recipe.get("model._target_") not in VARIABLE_SIZE_MODELS:
        return max(16, min(preset.image_size, median_size) // 16 * 16), reason
    train_size = min(preset.image_size, max(median_size, MIN_SIZE)) // 8 * 8
    if isinstance(configured_sizes := recipe.get("dataset.train_sizes"), list):
        train_size = max(configured_sizes)
    return round(train_size * TEST_SIZE_FACTOR) if train_size >= MIN_PROGRESSIVE_SIZE else train_size, reason


def choose_train_sizes(recipe: Recipe, train_size: int) -> tuple[list[int] | None, str]:
    """Return the sizes of training images in pixels (`None`: one size, that of test images), and the reason."""
    if is_pretrained(recipe.get("model")):
        return None, "a pretrained model needs few epochs"
    if recipe.get("model._target_") not in VARIABLE_SIZE_MODELS:
        return None, "the model requires one image size"
    if train_size < MIN_PROGRESSIVE_SIZE:
        return None, "small images"
    sizes = [max(round(train_size * factor / 8) * 8, MIN_PHOTO_SIZE) for factor in PROGRESSIVE_FACTORS]
    return sizes, "smaller images first, to save time"


def relative_cost(sizes: list[int] | None) -> float:
    """Return the cost of an epoch, averaged over the training sizes, as a fraction of that at the last size."""
    costs = [size**2 + FIXED_COST_SIDE**2 for size in sizes or [1]]
    return statistics.fmean(costs) / costs[-1]
