"""What can be known of a configuration's plain values before torch is imported: kinds, ranges, parts."""

import math
import re
from collections.abc import Mapping
from typing import Any

from cnn_classifier.config.signature import check_signature
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.validation import feature_map_size

# Lightning takes numbers, words and lists here; its own signature is checked once it is imported.
UNION_TYPED_KEYS = ("compute.compile", "trainer.devices", "trainer.precision")
# Smallest and largest value of the numbers that the YAML sets; None is open.
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
# What `auto` may be replaced by.
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
    "model.stem_stride": 2,
    "model.widths": [48, 96, 192, 384],
    "optimizer.lr": 1e-3,
    "trainer.max_epochs": 20,
}
# What may be left out.
# The value of a limited key that means "no limit".
UNLIMITED = {"trainer.max_epochs": -1}
# The keys of `trainer` that are null until `auto/` resolves them; Lightning does not accept `auto` for them.
AUTO_IF_NULL = ("max_epochs", "precision")
NULLABLE_KEYS = ("model.weights", "trainer.max_epochs")
ALLOWED_VALUES: dict[str, tuple[Any, ...]] = {
    "compute.compile": ("auto", True, False),
    "compute.memory_format": ("auto", "channels_last", "contiguous"),
}
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
# What `auto` is for this many images; it grows with the root of their number.
DEFAULT_SECONDS, REFERENCE_NUM_IMAGES = 900, 4000


def check_values(values: Mapping[str, Any]) -> None:
    """Check all that a run needs and every range.

    Args:
        values: The plain configuration.

    Raises:
        ConfigError: Naming the key, the value and what was expected.
    """
    check_required_groups(values)
    parse_duration(values["budget"], num_images=1)
    for key, (low, high) in RANGES.items():
        if get_by_path(values, key) != UNLIMITED.get(key):
            check_range(key, get_by_path(values, key), low, high)
    for name in AUTO_IF_NULL:
        if values["trainer"][name] == AUTO:
            raise ConfigError(f"trainer.{name}=auto is not a value of Lightning's; use trainer.{name}=null instead")
    for key, choices in ALLOWED_VALUES.items():
        if get_by_path(values, key) not in choices:
            expected = ", ".join(map(str, choices))
            raise ConfigError(f"{key}={get_by_path(values, key)} is unknown; expected one of: {expected}")
    check_signature(DatasetConfig, values["dataset"], name="dataset")
    dataset_config = DatasetConfig(**values["dataset"])
    widths = get_by_path(values, "model.widths")
    if widths == []:
        raise ConfigError("model.widths=[] has no block; expected such as model.widths=[32,64]")
    if widths and dataset_config.image_size != AUTO:
        feature_map_size(int(dataset_config.image_size), EXAMPLE_VALUES["model.widths"] if widths == AUTO else widths)


def check_type(key: str, value: Any, default: Any) -> None:
    """Raise ConfigError if a value is of another kind than the default it replaces; null gives way to anything."""
    example = EXAMPLE_VALUES.get(key, default)
    if example is None or isinstance(example, dict) or (value is None and key in NULLABLE_KEYS):
        return
    if key in UNION_TYPED_KEYS or key.startswith("dataset."):  # `check_signature` checks these
        return
    if (value == AUTO and default == AUTO) or is_same_type(value, example):
        return
    default = example
    type_name = "list" if isinstance(default, list) else type(default).__name__
    raise ConfigError(f"{key}={value} is of the wrong type; expected {type_name} such as {key}={default}")


def is_same_type(value: Any, default: Any) -> bool:
    """Whether a value is of the default's type; whole numbers are numbers too, and lists go by their first item."""
    if isinstance(default, list):
        return isinstance(value, list) and all(is_same_type(item, default[0]) for item in value if default)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def check_required_groups(values: Mapping[str, Any]) -> None:
    """Raise ConfigError if a run lacks a part, or says of one what it cannot mean."""
    for group in ("dataset", "model", "optimizer", "scheduler", "trainer", "loss"):
        if not isinstance(values.get(group), dict):
            raise ConfigError(f"{group} is missing; choose one of its options, which --help lists")
    if not isinstance(values["resume"], str | None):
        raise ConfigError(f"resume={values['resume']} is of the wrong type; expected auto, or a path")
    weights = values["loss"]["class_weights"]
    is_weight_list = isinstance(weights, list) and all(isinstance(w, int | float) and w > 0 for w in weights)
    if not (weights is None or weights == "balanced" or is_weight_list):
        raise ConfigError(f"loss.class_weights={weights}: expected balanced, or one number above 0 a class")


def check_range(key: str, value: Any, low: float | None, high: float | None) -> None:
    """Raise ConfigError if a number, or any number of a list, is below `low` or above `high`."""
    for number in value if isinstance(value, list) else [value]:
        if not isinstance(number, int | float):
            continue
        if (low is not None and number < low) or (high is not None and number > high):
            expected = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ConfigError(f"{key}={value} is out of range; expected {expected}")


def get_by_path(values: Any, key: str) -> Any:
    """The value of a dotted key; None if the chosen group has no such key."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def parse_duration(budget: str | int | float, num_images: int) -> float:
    """`90s`, `15m` or `1h30m` in seconds; `auto` is a quarter of an hour for some thousand images, and grows with more.

    Raises:
        ConfigError: If it is none of these.
    """
    if budget == AUTO:
        return DEFAULT_SECONDS * max(1.0, math.sqrt(num_images / REFERENCE_NUM_IMAGES))
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", str(budget))
    seconds = sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != str(budget):
        raise ConfigError(f"budget={budget} cannot be read; expected a time such as 90s, 15m or 1h30m")
    return seconds
