"""Checks of config values that do not import torch: types, ranges and required groups."""

import math
import re
from collections.abc import Mapping
from typing import Any

from cnn_classifier.config.metrics import check_monitors
from cnn_classifier.config.overrides import MAPPING_KEYS
from cnn_classifier.config.signature import check_leaves, check_signature
from cnn_classifier.config.trainer import check_trainer
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.validation import check_weights_exist, feature_map_size

# Keys of several types, which `ALLOWED_VALUES` checks.
UNION_TYPED_KEYS = ("compute.compile",)
# Minimum and maximum of numeric values; `None` means no limit.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, 2**32 - 1),
    "loss.label_smoothing": (0, 1),
    "model.hidden_dim": (1, None),
    "model.head_dropout": (0, 1),
    "model.dropout": (0, 1),
    "model.freeze": (0, 1),
    "model.layer_decay": (0, 1),
    "model.unfreeze": (0, 1),
    "model.widths": (1, None),
    "optimizer.lr": (0, None),
    "optimizer.momentum": (0, 1),
    "optimizer.weight_decay": (0, None),
    "scheduler.factor": (0, 1),
    "scheduler.patience": (0, None),
    "scheduler.pct_start": (0, 1),
    "scheduler.warmup_epochs": (0, None),
    "trainer.accumulate_grad_batches": (1, None),
    "trainer.gradient_clip_val": (0, None),
    "trainer.max_epochs": (1, None),
}
# Valid values of the keys that are `auto` by default; they determine the expected types.
EXAMPLE_VALUES: dict[str, Any] = {
    "augment.affine.crop_area": [0.5, 1.0],
    "augment.affine.degrees": 11.5,
    "augment.affine.translate": 0.05,
    "augment.flip.p": 0.5,
    "budget": "15m",
    "callbacks.ema.decay": 0.99,
    "loss.label_smoothing": 0.1,
    "model.dropout": 0.3,
    "model.freeze": 0.3,
    "model.stages": ["fine-tuning"],
    "model.stem_stride": 2,
    "model.widths": [48, 96, 192, 384],
    "optimizer.lr": 1e-3,
    "trainer.max_epochs": 20,
}
# Values below the minimum that mean "no limit".
UNLIMITED = {"trainer.max_epochs": -1}
# The keys of `trainer` that are null until `auto/` resolves them; Lightning does not accept `auto` for them.
AUTO_IF_NULL = ("max_epochs", "precision")
# Keys that may be null although their default is not.
NULLABLE_KEYS = ("model.weights", "trainer.max_epochs")
# Keys that are null or text, and what they expect.
TEXT_KEYS = {"resume": "auto or a path", "sweep.resume": "a path", "sweep.storage": "a URL", "sweep.study": "a name"}
TEXT_KEYS |= {"sweep.name": "a name"}
ALLOWED_VALUES: dict[str, tuple[Any, ...]] = {
    "compute.compile": ("auto", True, False),
    "compute.memory_format": ("auto", "channels_last", "contiguous"),
}
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
# `budget=auto` is `DEFAULT_SECONDS` for up to `REFERENCE_NUM_IMAGES`, and grows with the square root of their number.
DEFAULT_SECONDS, REFERENCE_NUM_IMAGES = 900, 4000


def check_values(values: Mapping[str, Any]) -> None:
    """Check the required groups and the range of every value.

    Args:
        values: The config as plain data.

    Raises:
        ConfigError: If a value is invalid; the message names the key, the value and what was expected.
    """
    check_required_groups(values)
    check_leaves(values, text_keys=MAPPING_KEYS)
    parse_duration(values["budget"], num_images=1)
    for key, (low, high) in RANGES.items():
        if get_by_path(values, key) != UNLIMITED.get(key):
            check_range(key, get_by_path(values, key), low, high)
    for name in AUTO_IF_NULL:
        if values["trainer"][name] == AUTO:
            raise ConfigError(f"trainer.{name}=auto is not supported by Lightning; use trainer.{name}=null instead")
    for key, choices in ALLOWED_VALUES.items():
        if get_by_path(values, key) not in choices:
            expected = ", ".join(map(str, choices))
            raise ConfigError(f"{key}={get_by_path(values, key)} is unknown: expected one of {expected}")
    check_monitors(values)
    check_trainer(values)
    if values["resume"] is None:  # a resumed run has its own weights
        check_weights_exist(values["model"])
    check_signature(DatasetConfig, values["dataset"], name="dataset")
    dataset_config = DatasetConfig(**values["dataset"])
    widths = get_by_path(values, "model.widths")
    if widths == []:
        raise ConfigError("model.widths=[] is empty: expected one width per block, such as model.widths=[32,64]")
    if widths and dataset_config.image_size != AUTO:
        feature_map_size(int(dataset_config.image_size), EXAMPLE_VALUES["model.widths"] if widths == AUTO else widths)


def check_type(key: str, value: Any, default: Any) -> None:
    """Check that an override has the type of the default that it replaces; a null default accepts any type.

    Args:
        key: The dotted key.
        value: The value of the override.
        default: The value without the override.

    Raises:
        ConfigError: If the type differs.
    """
    example = EXAMPLE_VALUES.get(key, default)
    if example is None or isinstance(example, dict) or (value is None and key in NULLABLE_KEYS):
        return
    is_trainer_key = key.startswith("trainer.") and key not in EXAMPLE_VALUES
    if key in UNION_TYPED_KEYS or key.startswith("dataset.") or is_trainer_key:  # `check_signature` checks these
        return
    if (value == AUTO and default == AUTO) or is_same_type(value, example):
        return
    raise ConfigError(f"{key}={value} is of the wrong type: expected {type(example).__name__} such as {key}={example}")


def is_same_type(value: Any, default: Any) -> bool:
    """Return whether a value has the type of the default; a float accepts an int, a list the type of its first item."""
    if isinstance(default, list):
        return isinstance(value, list) and all(is_same_type(item, default[0]) for item in value if default)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def check_required_groups(values: Mapping[str, Any]) -> None:
    """Check that the required groups are present, and the values whose type depends on their content.

    Raises:
        ConfigError: If a group is missing or a value is invalid.
    """
    for group in ("dataset", "model", "optimizer", "scheduler", "trainer", "loss"):
        if not isinstance(values.get(group), dict):
            raise ConfigError(f"{group} is missing: choose one of its options, which train --help lists")
    for key in TEXT_KEYS:
        if not isinstance(value := get_by_path(values, key), str | None):
            raise ConfigError(f"{key}={value} is of the wrong type: expected {TEXT_KEYS[key]}")
    weights = values["loss"]["class_weights"]
    is_weight_list = isinstance(weights, list) and all(isinstance(w, int | float) and w > 0 for w in weights)
    if not (weights is None or weights == "balanced" or is_weight_list):
        raise ConfigError(f"loss.class_weights={weights}: expected balanced or one positive number per class")


def check_range(key: str, value: Any, low: float | None, high: float | None) -> None:
    """Check that a number, or every number of a list, is within the limits.

    Raises:
        ConfigError: If a number is out of range.
    """
    for number in value if isinstance(value, list) else [value]:
        if not isinstance(number, int | float):
            continue
        if (low is not None and number < low) or (high is not None and number > high):
            expected = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ConfigError(f"{key}={value} is out of range: expected {expected}")


def get_by_path(values: Any, key: str) -> Any:
    """Return the value of a dotted key, or `None` if the selected groups do not have it."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def parse_duration(budget: str | int | float, num_images: int) -> float:
    """Parse a time budget and return it in seconds.

    Args:
        budget: A time such as `90s`, `15m` or `1h30m`, or `auto`: 15 minutes for up to 4,000 images.
        num_images: The number of training images, which determines `auto`.

    Raises:
        ConfigError: If the format is invalid.
    """
    if budget == AUTO:
        return DEFAULT_SECONDS * max(1.0, math.sqrt(num_images / REFERENCE_NUM_IMAGES))
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", str(budget))
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != str(budget):
        raise ConfigError(f"budget={budget} cannot be parsed: expected a time such as 90s, 15m or 1h30m")
    return seconds
