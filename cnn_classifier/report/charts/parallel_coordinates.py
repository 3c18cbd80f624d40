"""Parallel coordinates: one vertical axis per option and one line per run, ending at its accuracy."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_classifier.report.charts.svg import Content, build_axis
from cnn_classifier.report.formatting import evenly_spaced, format_value

# In units of the SVG.
WIDTH, HEIGHT = 640.0, 200.0
ACCURACY_LABEL = "val accuracy"
MAX_OPTIONS, MAX_TICKS = 7, 9
CHARACTER_WIDTH = 8.0  # an upper limit for the average in the font of the names


def build_parallel_coordinates(runs: Sequence[tuple[Mapping[str, str], float]], keys: Sequence[str]) -> Content | None:
    """Return the coordinates for the template, or None for fewer than two runs or no options.

    Args:
        runs: The option values and the validation accuracy of each run.
        keys: The options to show; at most `MAX_OPTIONS` are used.
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
            {"points": points, "fraction": round((score - low) / span, 2), "tooltip": f"{score:.1%}: {description}"}
        )
    axes = [
        {
            "name_lines": break_name(key, int(WIDTH / len(keys) / CHARACTER_WIDTH)),
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
        "axes": [*axes, {"name_lines": [ACCURACY_LABEL], "left": WIDTH, "ticks": ticks}],
        "lines": lines,
    }


def break_name(key: str, max_length: int) -> list[str]:
    """Break the name of an option after dots and underscores into lines of at most `max_length` characters."""
    lines = [""]
    for part in re.findall(r"[^._]+[._]?|[._]", key):
        if lines[-1] and len(lines[-1] + part) > max_length:
            lines.append("")
        lines[-1] += part
    return lines


def evenly_spaced_positions(values: Sequence[str]) -> dict[str, float]:
    """Return the position of each distinct value on its axis, from 0 to 1, in the order of `sort_key`."""
    names = list(dict.fromkeys(values))
    names.sort(key=sort_key)
    return {name: (index + 0.5) / len(names) for index, name in enumerate(names)}


def sort_key(text: str) -> Any:
    """Return a sort key that orders text before numbers, and numbers by their value."""
    try:
        return (1, float(text))
    except ValueError:
        return (0, text)
