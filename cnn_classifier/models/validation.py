"""What the values of a network must satisfy; free of torch, so that a wrong one answers at once."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_classifier.errors import ConfigError

PRETRAINED_TARGET = "cnn_classifier.models.pretrained.Pretrained"
RESNET_TARGET = "cnn_classifier.models.resnet.ResNet"


def check_probability(name: str, value: float) -> None:
    """Raise ConfigError unless a dropout probability is in [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigError(f"model.{name}={value} is out of range; expected a probability from 0 up to 1")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless a value is from `low` to `high`."""
    if not low <= value <= high:
        raise ConfigError(f"model.{name}={value} is out of range; expected from {low} to {high}")


def check_positive(name: str, *values: int) -> None:
    """Raise ConfigError unless there are widths and every one of them is at least 1."""
    if not values or min(values) < 1:
        value = values[0] if len(values) == 1 else list(values)
        raise ConfigError(f"model.{name}={value} is out of range; expected one or more whole numbers above 0")


def feature_map_size(image_size: int, widths: Sequence[int]) -> int:
    """Side of the feature map after halving once a width.

    Raises:
        ConfigError: If nothing would be left of the image.
    """
    feature_size: int = image_size >> len(widths)
    if feature_size < 1:
        raise ConfigError(
            f"dataset.image_size={image_size} is too small for the network: model.widths={list(widths)} halves the "
            f"image {len(widths)} times; expected at least {1 << len(widths)} pixels, or fewer widths"
        )
    return feature_size


def is_pretrained(model: Mapping[str, Any]) -> bool:
    """Whether a network's plain values say that it begins with weights learnt elsewhere."""
    return model["_target_"] == PRETRAINED_TARGET and model.get("weights") is not None
