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


def render_page(speeds: dict[str, list[float]], starts: dict[str, list[float]], arguments: argparse.Namespace) -> str:
    """The results as Markdown."""
    median = {name: statistics.median(values) for name, values in (speeds | starts).items()}
    ours, usual = statistics.median(speeds["ours"]), statistics.median(speeds["usual Lightning"])
    rows = [
        ("G1 training ÷ the same step on one synthetic batch", format_median(speeds["G1"], 3)),
        ("G2 training ÷ hand-written loop", format_median(speeds["G2"], 3)),
        ("ours, images/s", format_median(speeds["ours"])),
        ("usual Lightning, images/s", format_median(speeds["usual Lightning"])),
        ("G3 ours ÷ usual Lightning", f"{ours / usual:.2f}"),
    ]
    if "Keras" in speeds:
        keras = statistics.median(speeds["Keras"])
        rows += [("Keras, images/s", format_median(speeds["Keras"])), ("G3 ours ÷ Keras", f"{ours / keras:.2f}")]
    startup, lightning_startup = statistics.median(starts["ours"]), statistics.median(starts["usual Lightning"])
    rows += [
        ("to the first step, warm, s", format_median(starts["ours"])),
        ("of a stock Lightning script, s", format_median(starts["usual Lightning"])),
        ("G4 ratio", f"{startup / lightning_startup:.2f}"),
        ("`--help`, s", format_median(starts["--help"], 2)),
        ("a wrong key, s", format_median(starts["a wrong key"], 2)),
        ("memory of all processes, MB: ours", format_median(speeds["ours MB"], 0)),
        ("of usual Lightning with its workers", format_median(speeds["usual MB"], 0)),
        ("of bare torch, one batch", format_median(speeds["bare torch MB"], 0)),
        (
            "G7 ours ÷ (bare torch + data)",
            f"{median['ours MB'] / (median['bare torch MB'] + dataset_megabytes(arguments)):.2f}",
        ),
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "lightning"))
    command = f"python scripts/benchmark.py ROOT --rounds {arguments.rounds} --epochs {arguments.epochs} --size {arguments.size}"
    return "\n".join(
        [
            "# Benchmark",
            "",
            f"`{command}`: the seed network, batch 32, {arguments.size} px; {get_processor_name()}, {os.cpu_count()} cores; "
            f"Python {platform.python_version()}, {versions}. Median (least to most) of {len(speeds['ours'])} epochs; "
            f"the commands take turns, the first epoch of each is left out.",
            "",
            f"![Images a second of each way of training]({arguments.out.with_suffix('.png').name})",
            "",
            "| what | measured |",
            "| --- | --- |",
            *(f"| {label} | {value} |" for label, value in rows),
            "",
        ]
    )


def dataset_megabytes(arguments: argparse.Namespace) -> float:
    """The pixels of all images."""
    num_images = sum(1 for path in arguments.root.rglob("*") if path.is_file())
    return num_images * arguments.size**2 * 3 / 1e6


def plot_chart(speeds: dict[str, list[float]], path: Path) -> None:
    """Images a second of each way of training, every epoch a dot."""
    names = [name for name in ("ours", "usual Lightning", "Keras") if name in speeds][::-1]
    figure, ax = pyplot.subplots(figsize=(7, 0.6 + 0.7 * len(names)), layout="constrained")
    medians = [statistics.median(speeds[name]) for name in names]
    ax.barh(names, medians, height=0.6, color=["#3b6ea8" if name == "ours" else "#b8c4d0" for name in names])
    for row, name in enumerate(names):
        ax.plot(speeds[name], [row] * len(speeds[name]), "o", color="#1f2d3d", markersize=3.5, alpha=0.7)
        ax.annotate(f"{medians[row]:.0f}", (0, row), (6, 0), textcoords="offset points", va="center", color="#1f2d3d")
    ax.set_xlabel("training images a second: median, and every epoch")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def get_processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1] if match else platform.processor()


def format_median(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the least to the most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
