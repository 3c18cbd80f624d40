"""Selection of the images that a run report shows."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.report.charts.heatmap_overlay import Overlay, create_overlay
from cnn_classifier.report.formatting import evenly_spaced
from cnn_classifier.report.metrics.evaluation import LABEL_ERROR_CONFIDENCE, Evaluation
from cnn_classifier.report.pages.html import Thumbnail, make_thumbnails

# These bounds keep the page below 5 MB.
MAX_CELL_IMAGES = 180  # images of all cells of the confusion matrix
MAX_IMAGES_PER_CELL, MIN_IMAGES_PER_CELL = 24, 4
MAX_HIGHLIGHTS = 24  # mistakes, and as many of the least confident predictions

# Pixels (B, H, W, C) and B classes -> B heat maps (h, w), and the reason if there are none.
ExplainFn = Callable[[Pixels, Sequence[int]], tuple[Sequence[npt.NDArray[np.float32]], str]]


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """An image with its prediction.

    Args:
        path: The path of the file.
        name: The name of the file.
        label: The name of the true class.
        predicted: The name of the predicted class.
        probability: The probability of the predicted class.
        thumbnail: The thumbnail of the image.
        is_label_suspect: Whether the label is a suspected error.
        heatmap: The Grad-CAM heat map of the predicted class.
    """

    path: str
    name: str
    label: str
    predicted: str
    probability: float
    thumbnail: Thumbnail
    is_label_suspect: bool = False
    heatmap: Overlay | None = None


@dataclass(frozen=True)
class Gallery:
    """The images of a run report.

    Args:
        cells: The images of each cell of the confusion matrix, by true and predicted class.
        mistakes: The most confident mistakes, in descending order of confidence.
        least_confident: The least confident predictions, in ascending order of confidence.
        heatmap_message: The reason why there are no heat maps; empty if there are.
    """

    cells: dict[tuple[int, int], list[GalleryItem]]
    mistakes: list[GalleryItem]
    least_confident: list[GalleryItem]
    heatmap_message: str


def build_gallery(evaluation: Evaluation, preprocess: Preprocess, explain: ExplainFn) -> Gallery:
    """Select and load images, with heat maps of the mistakes and of the least confident predictions.

    Args:
        evaluation: The predictions on the test images.
        preprocess: The preprocessing of the model.
        explain: A function that computes Grad-CAM heat maps.
    """
    if not len(evaluation.labels):
        return Gallery({}, [], [], "")
    cells = select_cells(evaluation)
    mistakes, least_confident = evaluation.mistakes()[:MAX_HIGHLIGHTS], evaluation.least_confident()[:MAX_HIGHLIGHTS]
    highlights = list(dict.fromkeys([*mistakes.tolist(), *least_confident.tolist()]))
    indices = [*highlights, *(index for selected in cells.values() for index in selected)]
    paths = (evaluation.paths[index] for index in indices)
    thumbnails_by_path = make_thumbnails(paths, Path(), preprocess.value_range)
    heatmaps, message = compute_heatmaps(highlights, evaluation, preprocess, explain)
    items = {
        index: build_item(evaluation, index, thumbnails_by_path[evaluation.paths[index]]) for index in set(indices)
    }
    highlighted = {
        index: replace(items[index], heatmap=overlay_on(heatmaps.get(index), items[index].thumbnail, preprocess.resize))
        for index in highlights
    }
    return Gallery(
        {cell: [items[index] for index in selected] for cell, selected in cells.items()},
        [highlighted[index] for index in mistakes],
        [highlighted[index] for index in least_confident],
        message,
    )


def build_item(evaluation: Evaluation, index: int, thumbnail: Thumbnail) -> GalleryItem:
    """Return an image with its prediction."""
    path, probability = evaluation.paths[index], float(evaluation.confidence[index])
    label, predicted = evaluation.labels[index], evaluation.predicted[index]
    return GalleryItem(
        path=path,
        name=Path(path).name,
        label=evaluation.class_names[label],
        predicted=evaluation.class_names[predicted],
        probability=probability,
        thumbnail=thumbnail,
        is_label_suspect=bool(label != predicted and probability >= LABEL_ERROR_CONFIDENCE),
    )


def overlay_on(heatmap: npt.NDArray[np.float32] | None, thumbnail: Thumbnail, resize: str) -> Overlay | None:
    """Align a heat map with its thumbnail; None if either does not exist."""
    if heatmap is None or thumbnail.reason:
        return None
    return create_overlay(heatmap, width=thumbnail.width, height=thumbnail.height, resize=resize)


def compute_heatmaps(
    indices: Sequence[int], evaluation: Evaluation, preprocess: Preprocess, explain: ExplainFn
) -> tuple[dict[int, npt.NDArray[np.float32]], str]:
    """Return the heat map of each readable image by index, and the reason if there are none."""
    pixels = {}
    for index in indices:
        with suppress(UnreadableImageError):  # the thumbnail shows the reason
            pixels[index] = preprocess.load(evaluation.paths[index])
    if not pixels:
        return {}, ""
    heatmaps, message = explain(np.stack(list(pixels.values())), [int(evaluation.predicted[index]) for index in pixels])
    return dict(zip(pixels, heatmaps, strict=False)), message


def select_cells(evaluation: Evaluation) -> dict[tuple[int, int], list[int]]:
    """Select images of each cell of the confusion matrix, off-diagonal cells with the largest counts first.

    Returns:
        The image indices by true and predicted class: the most confident mistakes, and correct predictions evenly
        spaced over the range of confidence.
    """
    matrix = evaluation.confusion_matrix
    cells = sorted(
        zip(*map(np.ndarray.tolist, np.nonzero(matrix)), strict=True),
        key=lambda cell: (cell[0] == cell[1], -matrix[cell]),
    )
    cells = cells[: MAX_CELL_IMAGES // MIN_IMAGES_PER_CELL]
    images_per_cell = min(MAX_IMAGES_PER_CELL, MAX_CELL_IMAGES // len(cells))
    by_confidence = np.argsort(-evaluation.confidence, kind="stable")
    selected = {}
    for true, predicted in cells:
        members = by_confidence[
            (evaluation.labels[by_confidence] == true) & (evaluation.predicted[by_confidence] == predicted)
        ].tolist()
        selected[true, predicted] = (
            evenly_spaced(members, images_per_cell) if true == predicted else members[:images_per_cell]
        )
    return selected
