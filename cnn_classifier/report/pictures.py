"""Which pictures a report shows, few enough to stay small: some of each cell of the matrix, and the telling ones."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.report.evaluation import SURE, Evaluation
from cnn_classifier.report.overlay import Overlay, overlay
from cnn_classifier.report.page import Thumbnail, thumbnails

# These bounds keep the page below 5 MB.
MOST_IN_CELLS = 180  # pictures of all cells together
MOST_IN_A_CELL, FEWEST_IN_A_CELL = 24, 4
MOST_TELLING = 24  # mistakes, and as many unsure answers

T = TypeVar("T")
# Pixels (B, H, W, C) and a class of each -> a heat map (h, w) of each, and why there are none, or nothing.
Explain = Callable[[Pixels, Sequence[int]], tuple[Sequence[npt.NDArray[np.float32]], str]]


@dataclass(frozen=True, kw_only=True)
class Answer:
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
    said: str
    probability: float
    thumbnail: Thumbnail
    suspect: bool = False
    heat: Overlay | None = None


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report.

    Args:
        cells: Those of a cell, by true and predicted class.
        mistakes: The surest mistakes, the surest first.
        unsure: The answers it was least sure of.
        remark: Why no heat maps are shown; empty if they are.
    """

    cells: dict[tuple[int, int], list[Answer]]
    mistakes: list[Answer]
    unsure: list[Answer]
    remark: str


def gallery(evaluation: Evaluation, preprocess: Preprocess, explain: Explain) -> Gallery:
    """Choose pictures, read them, and ask what the network saw in the telling ones."""
    cells = cells_to_show(evaluation)
    mistakes, unsure = evaluation.mistakes()[:MOST_TELLING], evaluation.least_sure()[:MOST_TELLING]
    telling = list(dict.fromkeys([*mistakes.tolist(), *unsure.tolist()]))
    indices = [*telling, *(index for chosen in cells.values() for index in chosen)]
    small = thumbnails((evaluation.paths[index] for index in indices), Path())
    heat, remark = heat_of(telling, evaluation, preprocess, explain)
    answers = {index: answer(evaluation, index, small[evaluation.paths[index]]) for index in set(indices)}
    shown = {
        index: replace(answers[index], heat=laid(heat.get(index), answers[index].thumbnail, preprocess.resize))
        for index in telling
    }
    return Gallery(
        {cell: [answers[index] for index in chosen] for cell, chosen in cells.items()},
        [shown[index] for index in mistakes],
        [shown[index] for index in unsure],
        remark,
    )


def answer(evaluation: Evaluation, index: int, thumbnail: Thumbnail) -> Answer:
    """One of the images with what was said of it."""
    path, probability = evaluation.paths[index], float(evaluation.sure[index])
    label, said = evaluation.labels[index], evaluation.predicted[index]
    return Answer(
        path=path,
        name=Path(path).name,
        label=evaluation.class_names[label],
        said=evaluation.class_names[said],
        probability=probability,
        thumbnail=thumbnail,
        suspect=bool(label != said and probability >= SURE),
    )


def laid(heat: npt.NDArray[np.float32] | None, picture: Thumbnail, resize: str) -> Overlay | None:
    """A heat map over its picture, where there are both."""
    if heat is None or picture.reason:
        return None
    return overlay(heat, width=picture.width, height=picture.height, resize=resize)


def heat_of(
    indices: Sequence[int], evaluation: Evaluation, preprocess: Preprocess, explain: Explain
) -> tuple[dict[int, npt.NDArray[np.float32]], str]:
    """What spoke for the answer in each of the images that can be read, and why nothing is known of it."""
    pixels = {}
    for index in indices:
        with suppress(UnreadableImageError):  # the thumbnail says why
            pixels[index] = preprocess.load(evaluation.paths[index])
    if not pixels:
        return {}, ""
    maps, remark = explain(np.stack(list(pixels.values())), [int(evaluation.predicted[index]) for index in pixels])
    return dict(zip(pixels, maps, strict=False)), remark


def cells_to_show(evaluation: Evaluation) -> dict[tuple[int, int], list[int]]:
    """Some images of each cell of the confusion matrix, of the fullest mistakes first and of right answers last.

    Returns:
        By true and predicted class the indices of the images: of a mistake the surest ones, of a right answer some
        from the surest to the least sure.
    """
    matrix = evaluation.confusion_matrix
    cells = sorted(
        zip(*map(np.ndarray.tolist, np.nonzero(matrix)), strict=True), key=lambda c: (c[0] == c[1], -matrix[c])
    )
    cells = cells[: MOST_IN_CELLS // FEWEST_IN_A_CELL]
    each = min(MOST_IN_A_CELL, MOST_IN_CELLS // len(cells))
    surest = np.argsort(-evaluation.sure, kind="stable")
    chosen = {}
    for true, said in cells:
        inside = surest[(evaluation.labels[surest] == true) & (evaluation.predicted[surest] == said)].tolist()
        chosen[true, said] = spaced(inside, each) if true == said else inside[:each]
    return chosen


def spaced(items: Sequence[T], count: int) -> list[T]:
    """So many of the items, evenly spaced."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]
