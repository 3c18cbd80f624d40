"""How long a training may take, in the words of a user and in seconds."""

import math
import re

from cnn_classifier.errors import ConfigError

AUTO = "auto"
UNITS = {"s": 1, "m": 60, "h": 3600}
# What `auto` is for this many images; it grows with the root of their number.
USUAL_SECONDS, USUAL_IMAGES = 900, 4000
# Of a budget, once imports and a first check (27 s of 5,000 photos on 2 cores), decoding and the report are taken off;
# what is left is for a machine's moods.
TRAINING_SHARE, ASIDE = 0.92, 40.0


def seconds_of(budget: str | int | float, images: int) -> float:
    """`90s`, `15m` or `1h30m` in seconds; `auto` is a quarter of an hour for some thousand images, and grows with more.

    Raises:
        ConfigError: If it is none of these.
    """
    if budget == AUTO:
        return USUAL_SECONDS * max(1.0, math.sqrt(images / USUAL_IMAGES))
    parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", str(budget))
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not seconds or "".join(number + unit for number, unit in parts) != str(budget):
        raise ConfigError(f"budget={budget} cannot be read; expected a time such as 90s, 15m or 1h30m")
    return seconds


def told(seconds: float) -> str:
    """`15 minutes`, `90 s`"""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def training_seconds(budget: float, spent: float) -> float:
    """What of a budget is left for training once so many seconds went on finding out how fast it is."""
    return max(budget - ASIDE - spent, budget / 2) * TRAINING_SHARE
