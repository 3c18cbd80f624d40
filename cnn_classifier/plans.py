"""What may be trained within a budget, from the best to the least; measured on photos, see docs/results.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRETRAINED_TARGET = "cnn_classifier.models.pretrained.Pretrained"
RESNET_TARGET = "cnn_classifier.models.resnet.ResNet"
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


def is_pretrained(model: Mapping[str, Any]) -> bool:
    """Whether a network's plain values say that it begins with weights learnt elsewhere."""
    return model["_target_"] == PRETRAINED_TARGET and model.get("weights") is not None
