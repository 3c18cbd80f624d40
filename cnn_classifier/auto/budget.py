"""The time of a command, and the share of a time budget that is available for training."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from cnn_classifier.config.schema import parse_duration

# Subtracted from a budget before training: imports and the first data check (27 s for 5,000 photos on 2 cores),
# decoding and the report. The fraction leaves a margin for timing noise.
TRAINING_FRACTION, RESERVED_SECONDS = 0.92, 40.0


def format_duration(seconds: float) -> str:
    """Return a duration as text, such as `15 minutes` or `90 s`."""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def remaining_training_seconds(budget: float, elapsed: float) -> float:
    """Return the seconds left for training after setup and timing.

    Args:
        budget: The budget of the whole command, in seconds.
        elapsed: The time spent on timing so far, in seconds. At most half of the budget is subtracted.
    """
    return max(budget - RESERVED_SECONDS - elapsed, budget / 2) * TRAINING_FRACTION


def shorten_budget(budget: Any, max_time: str | Mapping[str, int] | None, num_images: int) -> Any:
    """Return `trainer.max_time` as the budget if it is shorter, so that schedules end before the run does.

    Args:
        budget: The configured budget.
        max_time: `DD:HH:MM:SS`, or arguments of `datetime.timedelta`.
        num_images: The number of training images, which determines `budget=auto`.
    """
    if max_time is None:
        return budget
    if isinstance(max_time, str):
        max_time = dict(zip(("days", "hours", "minutes", "seconds"), map(int, max_time.split(":")), strict=True))
    seconds = timedelta(**max_time).total_seconds()
    return f"{seconds}s" if 0 < seconds < parse_duration(budget, num_images) else budget
