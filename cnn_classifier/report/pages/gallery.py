"""Which pictures a report shows, few enough to stay small: some of each cell of the matrix, and the telling ones."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.report.charts.heatmap_overlay import Overlay, create_overlay
from cnn_classifier.report.metrics.evaluation import LABEL_ERROR_CONFIDENCE, Evaluation
from cnn_classifier.report.pages.html import Thumbnail, make_thumbnails

# These bounds keep the page below 5 MB.
MAX_CELL_IMAGES = 180  # pictures of all cells together
MAX_IMAGES_PER_CELL, MIN_IMAGES_PER_CELL = 24, 4
MAX_HIGHLIGHTS = 24  # mistakes, and as many unsure answers

T = TypeVar("T")
# Pixels (B, H, W, C) and a class of each -> a heat map (h, w) of each, and why there are none, or nothing.
ExplainFn = Callable[[Pixels, Sequence[int]], tuple[Sequence[npt.NDArray[np.float32]], str]]


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One picture and what was said of it.

    Args:
        path: The file.
        name: Of the file alone.
        label: The class it is of.
        said: The class it was called.
        probability: How sure the model was.
        thumbnail: The picture.
        suspect: The label may be what is wrong.
        heat: What spoke for the answer.
    """

    path: str
    name: str
    label: str
    predicted: str
    probability: float
    thumbnail: Thumbnail
    suspected: bool = False
    heatmap: Overlay | None = None


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report.

    Args:
        cells: Those of a cell, by true and predicted class.
        mistakes: The surest mistakes, the surest first.
        unsure: The answers it was least sure of.
        remark: Why no heat maps are shown; empty if they are.
    """

    cells: dict[tuple[int, int], list[GalleryItem]]
    mistakes: list[GalleryItem]
    least_confident: list[GalleryItem]
    heatmap_message: str


def build_gallery(evaluation: Evaluation, preprocess: Preprocess, explain: ExplainFn) -> Gallery:
    """Choose pictures, read them, and ask what the network saw in the telling ones."""
    cells = select_cells(evaluation)
    mistakes, uncertain = evaluation.mistakes()[:MAX_HIGHLIGHTS], evaluation.least_confident()[:MAX_HIGHLIGHTS]
    highlights = list(dict.fromkeys([*mistakes.tolist(), *uncertain.tolist()]))
    indices = [*highlights, *(index for selected in cells.values() for index in selected)]
    thumbnails_by_path = make_thumbnails((evaluation.paths[index] for index in indices), Path())
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
        [highlighted[index] for index in uncertain],
        message,
    )


def build_item(evaluation: Evaluation, index: int, thumbnail: Thumbnail) -> GalleryItem:
    """One of the images with what was said of it."""
    path, probability = evaluation.paths[index], float(evaluation.confidence[index])
    label, predicted = evaluation.labels[index], evaluation.predicted[index]
    return GalleryItem(
        path=path,
        name=Path(path).name,
        label=evaluation.class_names[label],
        predicted=evaluation.class_names[predicted],
        probability=probability,
        thumbnail=thumbnail,
        suspected=bool(label != predicted and probability >= LABEL_ERROR_CONFIDENCE),
    )


def overlay_on(heatmap: npt.NDArray[np.float32] | None, thumbnail: Thumbnail, resize: str) -> Overlay | None:
    """A heat map over its picture, where there are both."""
    if heatmap is None or thumbnail.reason:
        return None
    return create_overlay(heatmap, width=thumbnail.width, height=thumbnail.height, resize=resize)


def compute_heatmaps(
    indices: Sequence[int], evaluation: Evaluation, preprocess: Preprocess, explain: ExplainFn
) -> tuple[dict[int, npt.NDArray[np.float32]], str]:
    """What spoke for the answer in each of the images that can be read, and why nothing is known of it."""
    pixels = {}
    for index in indices:
        with suppress(UnreadableImageError):  # the thumbnail says why
            pixels[index] = preprocess.load(evaluation.paths[index])
    if not pixels:
        return {}, ""
    heatmaps, message = explain(np.stack(list(pixels.values())), [int(evaluation.predicted[index]) for index in pixels])
    return dict(zip(pixels, heatmaps, strict=False)), message


def select_cells(evaluation: Evaluation) -> dict[tuple[int, int], list[int]]:
    """Some images of each cell of the confusion matrix, of the fullest mistakes first and of right answers last.

    Returns:
        By true and predicted class the indices of the images: of a mistake the surest ones, of a right answer some
        from the surest to the least sure.
    """
    matrix = evaluation.confusion_matrix
    cells = sorted(
        zip(*map(np.ndarray.tolist, np.nonzero(matrix)), strict=True), key=lambda c: (c[0] == c[1], -matrix[c])
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


def evenly_spaced(items: Sequence[T], count: int) -> list[T]:
    """So many of the items, evenly spaced."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]
