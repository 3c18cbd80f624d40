"""How long a training may take, in the words of a user and in seconds."""

import math
import re

from cnn_classifier.errors import ConfigError

AUTO = "auto"
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
# What `auto` is for this many images; it grows with the root of their number.
DEFAULT_SECONDS, REFERENCE_NUM_IMAGES = 900, 4000
# Of a budget, once imports and a first check (27 s of 5,000 photos on 2 cores), decoding and the report are taken off;
# what is left is for a machine's moods.
TRAINING_FRACTION, RESERVED_SECONDS = 0.92, 40.0


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


def format_duration(seconds: float) -> str:
    """`15 minutes`, `90 s`"""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def remaining_training_seconds(budget: float, elapsed: float) -> float:
    """What of a budget is left for training once so many seconds went on finding out how fast it is."""
    return max(budget - RESERVED_SECONDS - elapsed, budget / 2) * TRAINING_FRACTION
