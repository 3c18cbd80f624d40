"""The range of values of a dataset, in which images with more than 8 bits per channel are scaled to 8 bits."""

import math
from collections.abc import Sequence

import numpy as np

from cnn_classifier.data.images.wide import NUM_LEVELS, ValueRange

# The fraction of the images whose limits the range may exceed at each end.
EXCLUDED_FRACTION = 0.001
# The range is rounded outward to multiples of a power of two, at most 1/32 of its width, so that similar sets of images
# share a range (and a cache).
ROUNDING = 32
# From this fraction of 8-bit images on, other images are scaled by their full scale, such as 12 bits, so that images of
# different bit depths are equally bright.
MIXED_FRACTION = 0.1
MIN_TYPICAL_LEVELS = 32  # an image with fewer gray levels loses visible detail


def combine_limits(limits: Sequence[ValueRange | None]) -> ValueRange | None:
    """Return the range of a set of images that is scaled to 8 bits.

    Args:
        limits: `WideImage.limits` of each image; None for an image with 8 bits.

    Returns:
        The lowest and highest value, or None if all images have 8 bits.
    """
    known = [value for value in limits if value is not None]
    if not known:
        return None
    lows, highs = np.array(known).T
    low = float(np.quantile(lows, EXCLUDED_FRACTION, method="nearest"))
    high = float(np.quantile(highs, 1 - EXCLUDED_FRACTION, method="nearest"))
    if low >= 0 and len(limits) - len(known) >= MIXED_FRACTION * len(limits):
        return 0.0, full_scale(high)
    if high <= low:
        return low, low + 1
    step = 2.0 ** math.floor(math.log2((high - low) / ROUNDING))
    return math.floor(low / step) * step, math.ceil(high / step) * step


def full_scale(high: float) -> float:
    """Return the largest value of the smallest usual format that holds a value: 1 for floats, or 8 to 32 bits."""
    return 1.0 if high <= 1 else float(next((2**bits - 1 for bits in range(8, 33) if high < 2**bits), high))


def typical_levels(limits: Sequence[ValueRange | None], value_range: ValueRange) -> int:
    """Return how many of 256 gray levels an image covers, as a median over the images that are scaled."""
    spans = [high - low for low, high in filter(None, limits)]
    return 1 + round(min(1.0, float(np.median(spans)) / (value_range[1] - value_range[0])) * (NUM_LEVELS - 1))


def describe_value_range(limits: Sequence[ValueRange | None], value_range: ValueRange | None) -> list[str]:
    """Return how images with more than 8 bits are scaled, with a warning if few gray levels remain.

    Args:
        limits: `WideImage.limits` of each image; None for an image with 8 bits.
        value_range: The range of values that is scaled to 8 bits.
    """
    known = list(filter(None, limits))
    if value_range is None:
        return []
    low, high = value_range
    if not known:
        return [f"dataset.value_range=[{low:g},{high:g}] has no effect: all images have 8 bits per channel."]
    message = (
        f"Images with more than 8 bits per channel: {len(known)} of {len(limits)}. Values from {low:g} to {high:g} are "
        "scaled to 256 gray levels (dataset.value_range)."
    )
    if (levels := typical_levels(known, value_range)) >= MIN_TYPICAL_LEVELS:
        return [message]
    typical_low, typical_high = np.median(known, axis=0)
    return [
        f"{message} A typical image covers only {levels} of them, because its values range from {typical_low:g} to "
        f"{typical_high:g}. Set a narrower dataset.value_range=[LOW,HIGH]; values outside are clipped."
    ]
