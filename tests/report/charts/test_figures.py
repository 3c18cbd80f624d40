"""Contents of the PNG figures."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn_classifier.report.charts.figures import (
    plot_class_distribution,
    plot_confusion_matrix,
    plot_image_grid,
    plot_learning_curves,
    save_png,
)


def draw(figure: Figure) -> bytes:
    """Return the PNG; a layout that does not fit raises its warning as an error."""
    with TemporaryDirectory() as folder:
        save_png(figure, Path(folder, "figure.png"))
        return Path(folder, "figure.png").read_bytes()


def test_learning_curves_show_training_and_validation() -> None:
    epochs = [
        {"epoch": 0, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5, "val/accuracy": 0.6},
        {"epoch": 1, "train/loss": 0.4, "train/accuracy": 0.8},  # an epoch without validation
        {"epoch": 2, "train/loss": 0.2, "val/loss": 0.3, "train/accuracy": 0.9, "val/accuracy": 0.8},
    ]
    figure = plot_learning_curves(epochs)
    loss, accuracy = figure.axes
    assert (loss.get_title(), accuracy.get_title()) == ("loss", "accuracy")
    lines = {line.get_label(): line.get_xydata().tolist() for line in loss.get_lines()}
    assert lines == {"train": [[0, 0.9], [1, 0.4], [2, 0.2]], "val": [[0, 0.8], [2, 0.3]]}
    assert draw(figure).startswith(b"\x89PNG")


def test_confusion_matrix_shows_counts_and_row_fractions() -> None:
    figure = plot_confusion_matrix(np.array([[8, 2], [0, 0]]), ["cats", "dogs"])  # no image of a dog
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["8", "2", "0", "0"]
    assert axes.images[0].get_array().tolist() == [[0.8, 0.2], [0, 0]]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cats", "dogs"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    draw(figure)
    large = plot_confusion_matrix(np.eye(21, dtype=np.int64), [f"class {label}" for label in range(21)])
    assert not large.axes[0].texts


@pytest.mark.parametrize(
    "class_names",
    [["birds", "cats", "dogs"], ["a rather long name", "another very long name", "yet another one, longer"]],
)
def test_class_distribution_shows_counts_per_class_and_split(class_names: list[str]) -> None:
    counts = {"train": [9, 8, 7], "val": [5, 4, 3], "test": [3, 2, 1]}
    figure = plot_class_distribution(counts, class_names)
    axes = figure.axes[0]
    assert {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers} == counts
    assert [tick.get_text() for tick in axes.get_xticklabels()] == class_names
    draw(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid_shows_each_image_below_its_title(channels: int) -> None:
    images = [np.full((4, 4, channels), value, np.uint8) for value in range(7)]
    figure = plot_image_grid(images, [f"image {value}" for value in range(7)])
    (axes,) = figure.axes
    for value, (title, image) in enumerate(zip(axes.texts, axes.images, strict=True)):
        left, right, bottom, top = image.get_extent()  # y is from the top down
        assert title.get_text() == f"image {value}"
        assert int(np.max(image.get_array())) == value
        assert left < title.get_position()[0] < right
        assert title.get_position()[1] < top < bottom
        assert image.get_clim() == (0, 255) or channels == 3
    assert axes.images[6].get_extent()[0] == axes.images[0].get_extent()[0]  # the first image of the second row
    draw(figure)


def test_figures_of_1000_classes_are_not_too_large() -> None:
    names = [f"species {label}" for label in range(1000)]
    bars = plot_class_distribution({"train": [5] * 1000}, names)
    assert bars.get_figwidth() * 120 < 2**16  # pixels, the limit of matplotlib
    assert len(bars.axes[0].get_xticklabels()) < 20
    assert len(plot_confusion_matrix(np.eye(1000, dtype=np.int64), names).axes[0].get_yticklabels()) < 20
