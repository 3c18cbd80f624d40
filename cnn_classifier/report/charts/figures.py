"""Matplotlib figures of a run, which are saved as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from cnn_classifier.data.images.preprocess import Pixels

BLUE, ORANGE, GRAY = "#2f6fb7", "#e07b39", "#8a8a8a"
MAX_ANNOTATED_CLASSES = 20  # with more classes the counts in the cells are illegible
MAX_LABELED_CLASSES = 120  # with more classes the names along an axis are illegible and slow to draw
MAX_WIDTH = 60.0  # inches
DPI = 120
CELL_WIDTH, CELL_HEIGHT = 1.9, 2.2  # inches, of an image with its title in a grid


def save_png(figure: Figure, path: Path) -> None:
    """Draw a figure once and write it as a PNG; `Figure.savefig` draws a figure with a layout engine twice."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(path)


def plot_learning_curves(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot loss and accuracy of training and validation over the epochs."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for stage, color in (("train", GRAY), ("val", BLUE)):
            points = [(row["epoch"], row[f"{stage}/{metric}"]) for row in epochs if f"{stage}/{metric}" in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=color,
                    label=stage,
                    marker="." if len(points) < 40 else "",
                )
        style_axes(axes, title=metric, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    return figure


def plot_confusion_matrix(matrix: npt.NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Plot the confusion matrix with true classes as rows; colors show the fraction of the true class."""
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = min(16.0, 3.5 + 0.55 * len(class_names))
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    set_class_ticks(axes, class_names)
    if len(class_names) <= MAX_LABELED_CLASSES:
        axes.set_yticks(range(len(class_names)), [escape_mathtext(name) for name in class_names])
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    if len(class_names) <= MAX_ANNOTATED_CLASSES:
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if fractions[row, column] > 0.5 else "black"
            annotation = axes.text(column, row, str(count), ha="center", va="center", color=color)
            annotation.set_in_layout(False)  # measuring the counts in every cell is slow
    figure.colorbar(image, ax=axes, label="fraction of the true class", shrink=0.8)
    return figure


def plot_class_distribution(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> Figure:
    """Plot the number of images of each class in each split as grouped bars."""
    figure = Figure(figsize=(min(MAX_WIDTH, max(5.0, 1.5 + 0.7 * len(class_names))), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(counts)
    for offset, ((split, values), color) in enumerate(zip(counts.items(), (BLUE, ORANGE, GRAY), strict=False)):
        axes.bar(np.arange(len(class_names)) + (offset - 1) * width, values, width, label=split, color=color)
    set_class_ticks(axes, class_names)
    style_axes(axes, title="Class distribution", xlabel="")
    figure.legend(loc="outside upper right", frameon=False, ncols=len(counts))
    return figure


def plot_image_grid(images: Sequence[Pixels], titles: Sequence[str], *, columns: int = 6) -> Figure:
    """Plot images with titles in a grid.

    Args:
        images: The images, each uint8 (H, W, C).
        titles: The title of each image.
        columns: The maximum number of columns.
    """
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(CELL_WIDTH * columns, CELL_HEIGHT * rows))
    axes = figure.add_axes((0, 0, 1, 1))  # one Axes for all images: one per image takes a second to lay out
    for index, (image, title) in enumerate(zip(images, titles, strict=True)):
        height, width = (1.78 * side / max(image.shape[:2]) for side in image.shape[:2])
        center_x, top = CELL_WIDTH * (index % columns + 0.5), CELL_HEIGHT * (index // columns) + 0.36
        extent = (center_x - width / 2, center_x + width / 2, top + height, top)
        pixels = image.squeeze(-1) if image.shape[-1] == 1 else image
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent)
        axes.text(center_x, top - 0.06, escape_mathtext(title), fontsize=9, ha="center", va="bottom")
    axes.set(xlim=(0, CELL_WIDTH * columns), ylim=(CELL_HEIGHT * rows, 0), aspect="auto")
    axes.axis("off")
    return figure


def style_axes(axes: Axes, *, title: str, xlabel: str) -> None:
    """Set the title and the x label, and remove the top and right spines."""
    axes.set(title=title, xlabel=xlabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)


def set_class_ticks(axes: Axes, class_names: Sequence[str]) -> None:
    """Label the x axis with class names, rotated if they would overlap; no labels for too many classes."""
    if len(class_names) > MAX_LABELED_CLASSES:
        return
    is_rotated = max(map(len, class_names)) > 5 or len(class_names) > 20
    style: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_rotated else {}
    axes.set_xticks(range(len(class_names)), [escape_mathtext(name) for name in class_names], **style)


def escape_mathtext(text: str) -> str:
    """Escape dollar signs, which matplotlib would parse as math."""
    return text.replace("$", r"\$")


def plot_lr_finder(lrs: Sequence[float], losses: Sequence[float], suggested_lr: float, default_lr: float) -> Figure:
    """Plot the smoothed loss over the learning rate, with the suggested and the default learning rate."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(lrs, losses, color=BLUE)
    axes.set_xscale("log")
    for lr, color, label in (
        (suggested_lr, ORANGE, f"suggested: {suggested_lr:.2g}"),
        (default_lr, GRAY, f"default: {default_lr:.2g}"),
    ):
        axes.axvline(lr, color=color, linestyle="--", label=label)
    style_axes(axes, title="Learning rate finder", xlabel="learning rate")
    axes.set_ylabel("training loss")
    axes.legend(frameon=False)
    return figure
