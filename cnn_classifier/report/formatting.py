"""Text formats of numbers, and selection of evenly spaced items."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def format_percent(fraction: float) -> str:
    """Format a fraction as a percentage, such as `86.3 %`."""
    return f"{100 * fraction:.1f} %"


def format_duration(seconds: float) -> str:
    """Format a duration as `9.4 s`, `2 min 58 s` or `3 h 4 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_value(value: str) -> str:
    """Shorten a decimal number to three significant digits; integers and text are unchanged."""
    try:
        return f"{float(value):.3g}" if "." in value else value
    except ValueError:
        return value


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` evenly spaced items, with the first and the last one."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]
