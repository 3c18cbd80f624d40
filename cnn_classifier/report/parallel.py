"""Parallel coordinates: an upright axis for each option, and a line through them for each run, up to its accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_classifier.report.charts import Content, axis
from cnn_classifier.report.page import short
from cnn_classifier.report.pictures import spaced

# In the units of the SVG.
WIDTH, HEIGHT = 640.0, 200.0
ACCURACY = "val accuracy"
MOST_OPTIONS, MOST_TICKS = 7, 9


def parallel(runs: Sequence[tuple[Mapping[str, str], float]], keys: Sequence[str]) -> Content | None:
    """Everything a template needs to draw it; None where there is nothing to see.

    Args:
        runs: The value of each option, and the accuracy.
        keys: The options to show.
    """
    keys = list(keys)[:MOST_OPTIONS]
    if len(runs) < 2 or not keys:
        return None
    accuracies = [value for _, value in runs]
    scales = [scale_of([option[key] for option, _ in runs]) for key in keys]
    accuracy = axis(ACCURACY, accuracies, share=True)
    lefts = [round(WIDTH * index / len(keys), 1) for index in range(len(keys) + 1)]
    low, span = min(accuracies), (max(accuracies) - min(accuracies)) or 1.0
    lines = []
    for option, value in sorted(runs, key=lambda run: run[1]):
        heights = [places[option[key]] for key, places in zip(keys, scales, strict=True)]
        tops = [*(round(HEIGHT * (1 - height), 1) for height in heights), HEIGHT - accuracy.position(value, HEIGHT)]
        points = " ".join(f"{left:g},{top:g}" for left, top in zip(lefts, tops, strict=True))
        told = ", ".join(f"{key} {option[key]}" for key in keys)
        lines.append({"points": points, "share": round((value - low) / span, 2), "title": f"{value:.1%}: {told}"})
    axes = [
        {"name": key, "left": left, "ticks": [(round(HEIGHT * (1 - places[name]), 1), short(name)) for name in named]}
        for key, left, places in zip(keys, lefts, scales, strict=False)
        for named in [spaced(list(places), MOST_TICKS)]
    ]
    ticks = [(HEIGHT - accuracy.position(value, HEIGHT), label) for value, label in accuracy.ticks]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "axes": [*axes, {"name": ACCURACY, "left": WIDTH, "ticks": ticks}],
        "lines": lines,
    }


def scale_of(values: Sequence[str]) -> dict[str, float]:
    """Each value's place on its axis, from 0 to 1, evenly spread; words, then numbers, each in their order."""
    names = list(dict.fromkeys(values))
    names.sort(key=number)
    return {name: (index + 0.5) / len(names) for index, name in enumerate(names)}


def number(text: str) -> Any:
    """What a value is sorted by: words come below numbers."""
    try:
        return (1, float(text))
    except ValueError:
        return (0, text)
