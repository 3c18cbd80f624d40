"""Checks of model options that do not import torch, so that invalid values are reported immediately."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.errors import CheckpointError, ConfigError

PRETRAINED_TARGET = "cnn_classifier.models.pretrained.Pretrained"
RESNET_TARGET = "cnn_classifier.models.resnet.ResNet"


def check_probability(name: str, value: float) -> None:
    """Raise `ConfigError` unless a dropout probability is in [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigError(f"model.{name}={value} is out of range: expected at least 0 and less than 1")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise `ConfigError` unless a value is in [low, high]."""
    if not low <= value <= high:
        raise ConfigError(f"model.{name}={value} is out of range: expected from {low} to {high}")


def check_positive(name: str, *values: int) -> None:
    """Raise `ConfigError` unless there is at least one value and all values are at least 1."""
    if not values or min(values) < 1:
        value = values[0] if len(values) == 1 else list(values)
        raise ConfigError(f"model.{name}={value} is out of range: expected one or more positive integers")


def feature_map_size(image_size: int, widths: Sequence[int]) -> int:
    """Return the size in pixels of the feature map after one 2x2 pooling per width.

    Args:
        image_size: The height and width of the images, in pixels.
        widths: The number of output channels of each block.

    Raises:
        ConfigError: If the feature map would be empty.
    """
    feature_size: int = image_size >> len(widths)
    if feature_size < 1:
        raise ConfigError(
            f"dataset.image_size={image_size} is too small for the network: model.widths={list(widths)} halves the "
            f"image {len(widths)} times: expected at least {1 << len(widths)} pixels, or fewer widths"
        )
    return feature_size


def require_image_size(model_name: str, image_size: int | None) -> int:
    """Return the image size of a model whose head flattens the feature map.

    Raises:
        ConfigError: If the image size is `None`.
    """
    if image_size is None:
        raise ConfigError(
            f"{model_name} requires image_size, because its head flattens the feature map; "
            "set it to the height and width of the images in pixels, for example image_size=128"
        )
    return image_size


def is_pretrained(model: Mapping[str, Any]) -> bool:
    """Return whether the plain config of a model selects pretrained weights."""
    return model["_target_"] == PRETRAINED_TARGET and model.get("weights") is not None


def check_weights_exist(model: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` if `weights` of a network of this package is a path that does not exist."""
    weights = model.get("weights")
    is_ours = str(model["_target_"]).startswith(("auto", "cnn_classifier.models."))  # others may interpret it
    is_path = is_ours and isinstance(weights, str) and weights not in ("auto", "imagenet")
    if is_path and not Path(str(weights)).expanduser().exists():
        raise CheckpointError(
            f"model.weights={weights} does not exist: expected imagenet, auto, a run directory, a checkpoint, or a "
            ".pth, .pt or .safetensors file"
        )
