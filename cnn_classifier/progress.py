"""Progress bars of long operations."""

import os
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

QUIET_VARIABLE = "CNN_CLASSIFIER_QUIET"  # set by `--quiet`, also for worker processes

T = TypeVar("T")


def progress_bar(
    iterable: Iterable[T] | None = None,
    description: str | None = None,
    total: int | None = None,
    *,
    enabled: bool = True,
    **kwargs: Any,
) -> "tqdm[T]":
    """Return a progress bar that is drawn on standard error, on terminals only, and removed when it is complete.

    Args:
        iterable: The items to iterate over; None if `update` is called.
        description: The operation, such as `decoding`.
        total: The number of items, None if it is unknown or the length of `iterable`.
        enabled: Whether to draw the bar; `--quiet` disables all bars.
        **kwargs: Other arguments of `tqdm`.
    """
    is_hidden = not enabled or QUIET_VARIABLE in os.environ
    options = {"disable": True if is_hidden else None, "leave": False, "dynamic_ncols": True} | kwargs
    return tqdm(iterable, desc=description, total=total, **options)  # disable=None hides the bar without a terminal
