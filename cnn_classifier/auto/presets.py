"""How large images are trained on and tested, by what the folder holds and what there is time for."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnn_classifier.auto.resolved import Recipe
from cnn_classifier.models.validation import PRETRAINED_TARGET, RESNET_TARGET, is_pretrained

VARIABLE_SIZE_MODELS = (RESNET_TARGET, PRETRAINED_TARGET)
# From this side on, training begins with smaller images and ends at the full one (progressive resizing, fast.ai), and
# the images to test are larger by an eighth, since crops enlarge what they show (arXiv:1906.06423).
MIN_PROGRESSIVE_SIZE = 64
PROGRESSIVE_FACTORS = (0.5, 0.75, 1.0)
MIN_PHOTO_SIZE = 48  # at 32 px almost nothing is learnt of photos (docs/results.md)
TEST_SIZE_FACTOR = 1.125
MIN_STRIDED_SIZE = 64  # the side from which on the first convolution may halve the image
MIN_SIZE, MIN_PRETRAINED_SIZE = 32, 128  # sides below which blocks, and backbones, have too little to go on
MAX_UPSCALE = 1.5  # what backbones were shown fills an image: they make more of small photos enlarged (docs/results.md)
# The optimiser, validation and the like take as long as the convolutions of an image of this side: epochs of 3,600
# photos took 8.3, 13.8 and 21.5 s at 64, 96 and 128 px, and of narrower blocks 2.7, 4.4 and 6.6 s at 48, 72 and 96 px
# (batches of 128, 2 cores with bfloat16).
FIXED_COST_SIDE = 60
WIDE_CHANNELS, NARROW_CHANNELS = (48, 96, 192, 384), (32, 64, 128, 256)


@dataclass(frozen=True)
class Preset:
    """One of them.

    Args:
        side: In pixels, of the last training images.
        fewest: Epochs below which the next plan is better.
        ample: The side where there is time for all epochs that gain something; not timed before that is likely, since
            trials of large images are long.
        freeze: `model.freeze` of a pretrained network.
        widths: Of the blocks of our own residual network.
        beside: What an epoch takes, as a multiple of its steps: validation and checkpoints; where only the head learns,
            validation is nearly as much work as training.
    """

    image_size: int
    min_epochs: int
    large_image_size: int | None = None
    freeze: float = 0.0
    widths: Sequence[int] = WIDE_CHANNELS
    epoch_overhead: float = 1.1


# From scratch 128 px are what a small network can make use of, and 7 epochs of up to 96 px are better than 18 of up to
# 64 (0.899 against 0.886 of the cats and dogs). A pretrained one whose head learns alone is better than one that learns
# as a whole for an epoch or two: 0.982 against 0.965 (docs/results.md).
FROM_SCRATCH_PRESETS = (Preset(128, 12), Preset(96, 6, widths=NARROW_CHANNELS), Preset(64, 1, widths=NARROW_CHANNELS))


PRETRAINED_PRESETS = (
    Preset(224, 6, large_image_size=288, freeze=0.25),
    Preset(224, 3, freeze=1.0, epoch_overhead=1.3),
    Preset(160, 1, freeze=1.0, epoch_overhead=1.3),
)


def get_presets(model: Mapping[str, Any]) -> Sequence[Preset]:
    """Those of a network, given as plain values."""
    return PRETRAINED_PRESETS if is_pretrained(model) else FROM_SCRATCH_PRESETS


def resolve_image_size(recipe: Recipe, median_size: int, preset: Preset) -> None:
    """The sides of the images that are tested and trained on, and the network that goes with them.

    Args:
        recipe: What is `auto` in it is settled.
        typical: The median of the images' shorter sides, in pixels.
        plan: What there is time for.
    """
    size_reason = f"images of about {median_size} px"
    widths_reason = "too little time for more" if preset.widths == NARROW_CHANNELS else "time for them"
    recipe.resolve("model.widths", list(preset.widths), widths_reason)
    recipe.resolve("model.freeze", preset.freeze, "too little time for more" if preset.freeze == 1 else "time for more")
    if is_pretrained(recipe.get("model")):
        pretrained_size = int(max(median_size * MAX_UPSCALE, MIN_PRETRAINED_SIZE)) // 32 * 32
        recipe.resolve(
            "dataset.image_size", min(preset.image_size, pretrained_size), f"what backbones know; {size_reason}"
        )
        recipe.resolve("dataset.train_sizes", None, "few epochs are enough")
    elif recipe.get("model._target_") not in VARIABLE_SIZE_MODELS:
        train_size = max(16, min(preset.image_size, median_size) // 16 * 16)
        recipe.resolve("dataset.image_size", train_size, size_reason)
        recipe.resolve("dataset.train_sizes", None, "the network takes one size")
    configured_sizes = recipe.get("dataset.train_sizes")
    train_size = (
        max(configured_sizes)
        if isinstance(configured_sizes, list)
        else min(preset.image_size, max(median_size, MIN_SIZE)) // 8 * 8
    )
    recipe.resolve(
        "dataset.image_size",
        round(train_size * TEST_SIZE_FACTOR) if train_size >= MIN_PROGRESSIVE_SIZE else train_size,
        size_reason,
    )
    image_size = recipe.get("dataset.image_size")
    train_size = round(image_size / TEST_SIZE_FACTOR / 8) * 8
    progressive_sizes = [max(round(train_size * factor / 8) * 8, MIN_PHOTO_SIZE) for factor in PROGRESSIVE_FACTORS]
    sizes = progressive_sizes if train_size >= MIN_PROGRESSIVE_SIZE else None
    recipe.resolve(
        "dataset.train_sizes", sizes, "small images first, which are quick" if sizes else "the images are small"
    )
    recipe.resolve("model.stem_stride", 2 if train_size >= MIN_STRIDED_SIZE else 1, f"images of {image_size} px")


def relative_cost(sizes: list[int] | None) -> float:
    """The work of a training as a share of that at its last size."""
    costs = [size**2 + FIXED_COST_SIDE**2 for size in sizes or [1]]
    return statistics.fmean(costs) / costs[-1]
