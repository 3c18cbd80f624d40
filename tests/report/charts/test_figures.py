"""What is drawn is what was measured."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnn_classifier.report.charts.figures import (
    plot_class_distribution,
    plot_confusion_matrix,
    plot_image_grid,
    plot_learning_curves,
)


def drawn(figure: Figure) -> bytes:
    """The PNG; drawing raises what a layout that does not fit would warn of."""
    file = io.BytesIO()
    figure.savefig(file, dpi=40)
    return file.getvalue()


def test_curves_show_both_stages_of_loss_and_accuracy() -> None:
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
    assert drawn(figure).startswith(b"\x89PNG")


def test_the_heat_map_writes_counts_and_colours_shares_of_the_true_class() -> None:
    figure = plot_confusion_matrix(np.array([[8, 2], [0, 0]]), ["cats", "dogs"])  # no dog was shown
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["8", "2", "0", "0"]
    assert axes.images[0].get_array().tolist() == [[0.8, 0.2], [0, 0]]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cats", "dogs"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    drawn(figure)
    many = plot_confusion_matrix(np.eye(21, dtype=np.int64), [f"class {label}" for label in range(21)])
    assert not many.axes[0].texts  # too small to read


@pytest.mark.parametrize(
    "class_names",
    [["birds", "cats", "dogs"], ["a rather long name", "another very long name", "yet another one, longer"]],
)
def test_bars_stand_for_the_images_of_each_class_in_each_split(class_names: list[str]) -> None:
    counts = {"train": [9, 8, 7], "val": [5, 4, 3], "test": [3, 2, 1]}
    figure = plot_class_distribution(counts, class_names)
    axes = figure.axes[0]
    assert {bars.get_label(): [bar.get_height() for bar in bars] for bars in axes.containers} == counts
    assert [tick.get_text() for tick in axes.get_xticklabels()] == class_names
    drawn(figure)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_each_picture_below_its_title(channels: int) -> None:
    pictures = [np.full((4, 4, channels), value, np.uint8) for value in range(7)]
    figure = plot_image_grid(pictures, [f"picture {value}" for value in range(7)])
    (axes,) = figure.axes
    for value, (title, picture) in enumerate(zip(axes.texts, axes.images, strict=True)):
        left, right, bottom, top = picture.get_extent()  # y is from the top down
        assert title.get_text() == f"picture {value}"
        assert int(np.max(picture.get_array())) == value
        assert left < title.get_position()[0] < right
        assert title.get_position()[1] < top < bottom
        assert picture.get_clim() == (0, 255) or channels == 3
    assert axes.images[6].get_extent()[0] == axes.images[0].get_extent()[0]  # the seventh begins a second row
    drawn(figure)


def test_a_thousand_classes_fit_into_a_picture() -> None:
    names = [f"species {label}" for label in range(1000)]
    bars = plot_class_distribution({"train": [5] * 1000}, names)
    assert bars.get_figwidth() * 120 < 2**16  # pixels, more than which matplotlib does not draw
    assert len(bars.axes[0].get_xticklabels()) < 20
    assert len(plot_confusion_matrix(np.eye(1000, dtype=np.int64), names).axes[0].get_yticklabels()) < 20
