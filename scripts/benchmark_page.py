"""The page and the chart of what `benchmark.py` measured."""

import argparse
import os
import platform
import re
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from matplotlib import pyplot


def page(speeds: dict[str, list[float]], starts: dict[str, list[float]], words: argparse.Namespace) -> str:
    """The results as Markdown."""
    median = {name: statistics.median(values) for name, values in (speeds | starts).items()}
    ours, usual = statistics.median(speeds["ours"]), statistics.median(speeds["usual Lightning"])
    rows = [
        ("G1 training ÷ the same step on one synthetic batch", told(speeds["G1"], 3)),
        ("G2 training ÷ hand-written loop", told(speeds["G2"], 3)),
        ("ours, images/s", told(speeds["ours"])),
        ("usual Lightning, images/s", told(speeds["usual Lightning"])),
        ("G3 ours ÷ usual Lightning", f"{ours / usual:.2f}"),
    ]
    if "Keras" in speeds:
        keras = statistics.median(speeds["Keras"])
        rows += [("Keras, images/s", told(speeds["Keras"])), ("G3 ours ÷ Keras", f"{ours / keras:.2f}")]
    first, stock = statistics.median(starts["ours"]), statistics.median(starts["usual Lightning"])
    rows += [
        ("to the first step, warm, s", told(starts["ours"])),
        ("of a stock Lightning script, s", told(starts["usual Lightning"])),
        ("G4 ratio", f"{first / stock:.2f}"),
        ("`--help`, s", told(starts["--help"], 2)),
        ("a wrong key, s", told(starts["a wrong key"], 2)),
        ("memory of all processes, MB: ours", told(speeds["ours MB"], 0)),
        ("of usual Lightning with its workers", told(speeds["usual MB"], 0)),
        ("of bare torch, one batch", told(speeds["bare torch MB"], 0)),
        (
            "G7 ours ÷ (bare torch + data)",
            f"{median['ours MB'] / (median['bare torch MB'] + data_megabytes(words)):.2f}",
        ),
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "lightning"))
    command = f"python scripts/benchmark.py ROOT --rounds {words.rounds} --epochs {words.epochs} --size {words.size}"
    return "\n".join(
        [
            "# Benchmark",
            "",
            f"`{command}`: the seed network, batch 32, {words.size} px; {processor()}, {os.cpu_count()} cores; "
            f"Python {platform.python_version()}, {versions}. Median (least to most) of {len(speeds['ours'])} epochs; "
            f"the commands take turns, the first epoch of each is left out.",
            "",
            f"![Images a second of each way of training]({words.out.with_suffix('.png').name})",
            "",
            "| what | measured |",
            "| --- | --- |",
            *(f"| {what} | {value} |" for what, value in rows),
            "",
        ]
    )


def data_megabytes(words: argparse.Namespace) -> float:
    """The pixels of all images."""
    images = sum(1 for path in words.root.rglob("*") if path.is_file())
    return images * words.size**2 * 3 / 1e6


def chart(speeds: dict[str, list[float]], path: Path) -> None:
    """Images a second of each way of training, every epoch a dot."""
    names = [name for name in ("ours", "usual Lightning", "Keras") if name in speeds][::-1]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.7 * len(names)), layout="constrained")
    medians = [statistics.median(speeds[name]) for name in names]
    axes.barh(names, medians, height=0.6, color=["#3b6ea8" if name == "ours" else "#b8c4d0" for name in names])
    for row, name in enumerate(names):
        axes.plot(speeds[name], [row] * len(speeds[name]), "o", color="#1f2d3d", markersize=3.5, alpha=0.7)
        axes.annotate(f"{medians[row]:.0f}", (0, row), (6, 0), textcoords="offset points", va="center", color="#1f2d3d")
    axes.set_xlabel("training images a second: median, and every epoch")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def processor() -> str:
    told_by = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", told_by.read_text()) if told_by.exists() else None
    return found[1] if found else platform.processor()


def told(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the least to the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
