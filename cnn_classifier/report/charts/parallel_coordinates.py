"""Parallel coordinates: an upright axis for each option, and a line through them for each run, up to its accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_classifier.report.charts.svg import Content, build_axis
from cnn_classifier.report.pages.gallery import evenly_spaced
from cnn_classifier.report.pages.html import format_value

# In the units of the SVG.
WIDTH, HEIGHT = 640.0, 200.0
ACCURACY_LABEL = "val accuracy"
MAX_OPTIONS, MAX_TICKS = 7, 9


def build_parallel_coordinates(runs: Sequence[tuple[Mapping[str, str], float]], keys: Sequence[str]) -> Content | None:
    """Everything a template needs to draw it; None where there is nothing to see.

    Args:
        runs: The value of each option, and the accuracy.
        keys: The options to show.
    """
    keys = list(keys)[:MAX_OPTIONS]
    if len(runs) < 2 or not keys:
        return None
    accuracies = [score for _, score in runs]
    positions_by_key = [evenly_spaced_positions([options[key] for options, _ in runs]) for key in keys]
    accuracy = build_axis(ACCURACY_LABEL, accuracies, as_percent=True)
    x_positions = [round(WIDTH * index / len(keys), 1) for index in range(len(keys) + 1)]
    low, span = min(accuracies), (max(accuracies) - min(accuracies)) or 1.0
    lines = []
    for options, score in sorted(runs, key=lambda run: run[1]):
        heights = [value_positions[options[key]] for key, value_positions in zip(keys, positions_by_key, strict=True)]
        tops = [*(round(HEIGHT * (1 - height), 1) for height in heights), HEIGHT - accuracy.to_position(score, HEIGHT)]
        points = " ".join(f"{left:g},{top:g}" for left, top in zip(x_positions, tops, strict=True))
        description = ", ".join(f"{key} {options[key]}" for key in keys)
        lines.append(
            {"points": points, "share": round((score - low) / span, 2), "title": f"{score:.1%}: {description}"}
        )
    axes = [
        {
            "name": key,
            "left": left,
            "ticks": [(round(HEIGHT * (1 - value_positions[name]), 1), format_value(name)) for name in tick_names],
        }
        for key, left, value_positions in zip(keys, x_positions, positions_by_key, strict=False)
        for tick_names in [evenly_spaced(list(value_positions), MAX_TICKS)]
    ]
    ticks = [(HEIGHT - accuracy.to_position(score, HEIGHT), label) for score, label in accuracy.ticks]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "axes": [*axes, {"name": ACCURACY_LABEL, "left": WIDTH, "ticks": ticks}],
        "lines": lines,
    }


def evenly_spaced_positions(values: Sequence[str]) -> dict[str, float]:
    """Each value's place on its axis, from 0 to 1, evenly spread; words, then numbers, each in their order."""
    names = list(dict.fromkeys(values))
    names.sort(key=sort_key)
    return {name: (index + 0.5) / len(names) for index, name in enumerate(names)}


def sort_key(text: str) -> Any:
    """What a value is sorted by: words come below numbers."""
    try:
        return (1, float(text))
    except ValueError:
        return (0, text)
