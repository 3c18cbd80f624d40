"""The Markdown page and the chart of the results of `benchmark.py`."""

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
    """Return the results as a Markdown page.

    Args:
        speeds: The measurements of `Benchmark.measure_training`.
        starts: The measurements of `Benchmark.measure_startup`.
        arguments: The command-line arguments of the benchmark.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "lightning"))
    options = f"--rounds {arguments.rounds} --epochs {arguments.epochs} --size {arguments.size}"
    num_epochs = len(speeds["cnn_classifier"])
    return "\n".join(
        [
            "# Benchmark",
            "",
            f"`python scripts/benchmark.py ROOT {options}`: the seed network, batch size 32, {arguments.size} px; "
            f"{get_processor_name()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}. "
            f"Median (minimum to maximum) of {num_epochs} epochs; the commands run alternately, and the first epoch of "
            "each is ignored.",
            "",
            f"![Images per second of each training script]({arguments.out.with_suffix('.png').name})",
            "",
            "| metric | value |",
            "| --- | --- |",
            *(f"| {label} | {value} |" for label, value in build_rows(speeds, starts, dataset_megabytes(arguments))),
            "",
        ]
    )


def build_rows(
    speeds: dict[str, list[float]], starts: dict[str, list[float]], data_megabytes: float
) -> list[tuple[str, str]]:
    """Return the label and the value of each row of the table."""
    median_speed = {name: statistics.median(values) for name, values in speeds.items()}
    median_start = {name: statistics.median(values) for name, values in starts.items()}
    speed = median_speed["cnn_classifier"]
    rows = [
        ("G1 training ÷ the same step on one synthetic batch", format_median(speeds["G1"], 3)),
        ("G2 training ÷ hand-written loop", format_median(speeds["G2"], 3)),
        ("cnn_classifier, images/s", format_median(speeds["cnn_classifier"])),
        ("stock Lightning, images/s", format_median(speeds["stock Lightning"])),
        ("G3 cnn_classifier ÷ stock Lightning", f"{speed / median_speed['stock Lightning']:.2f}"),
    ]
    if "Keras" in speeds:
        rows += [
            ("Keras, images/s", format_median(speeds["Keras"])),
            ("G3 cnn_classifier ÷ Keras", f"{speed / median_speed['Keras']:.2f}"),
        ]
    reference_memory = median_speed["bare torch MB"] + data_megabytes
    rows += [
        ("time to the first step, warm, s: cnn_classifier", format_median(starts["cnn_classifier"])),
        ("time to the first step, warm, s: stock Lightning", format_median(starts["stock Lightning"])),
        ("G4 ratio", f"{median_start['cnn_classifier'] / median_start['stock Lightning']:.2f}"),
        ("`--help`, s", format_median(starts["--help"], 2)),
        ("invalid key, s", format_median(starts["invalid key"], 2)),
        ("peak memory of all processes, MB: cnn_classifier", format_median(speeds["cnn_classifier MB"], 0)),
        ("peak memory, MB: stock Lightning with workers", format_median(speeds["stock Lightning MB"], 0)),
        ("peak memory, MB: bare torch, one batch", format_median(speeds["bare torch MB"], 0)),
        (
            "G7 cnn_classifier ÷ (bare torch + data)",
            f"{median_speed['cnn_classifier MB'] / reference_memory:.2f}",
        ),
    ]
    return rows


def dataset_megabytes(arguments: argparse.Namespace) -> float:
    """Return the size of the decoded images in megabytes."""
    num_images = sum(1 for path in arguments.root.rglob("*") if path.is_file())
    return num_images * arguments.size**2 * 3 / 1e6


def plot_chart(speeds: dict[str, list[float]], path: Path) -> None:
    """Plot the images per second of each training script, with one dot per epoch."""
    names = [name for name in ("cnn_classifier", "stock Lightning", "Keras") if name in speeds][::-1]
    figure, ax = pyplot.subplots(figsize=(7, 0.6 + 0.7 * len(names)), layout="constrained")
    medians = [statistics.median(speeds[name]) for name in names]
    ax.barh(names, medians, height=0.6, color=["#3b6ea8" if name == "cnn_classifier" else "#b8c4d0" for name in names])
    for row, name in enumerate(names):
        ax.plot(speeds[name], [row] * len(speeds[name]), "o", color="#1f2d3d", markersize=3.5, alpha=0.7)
        ax.annotate(f"{medians[row]:.0f}", (0, row), (6, 0), textcoords="offset points", va="center", color="#1f2d3d")
    ax.set_xlabel("training images per second: median and single epochs")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def get_processor_name() -> str:
    """Return the model name of the CPU."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1] if match else platform.processor()


def format_median(values: Sequence[float], digits: int = 1) -> str:
    """Format values as their median, minimum and maximum."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
