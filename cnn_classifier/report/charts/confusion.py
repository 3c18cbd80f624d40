"""The confusion matrix of many classes, whose numbers nobody could read: a drawing of a few paths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_TABLE_CLASSES = 25  # classes up to which the matrix is a table of numbers
NUM_SHADES = 5
MAX_CELLS = 10_000  # drawn of the mistakes, the fullest first
MAX_EXACT_CLASSES = 150  # with more classes a cell is drawn larger than it is, or it could not be seen


def confusion_paths(matrix: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """The cells that are not empty, as one path a shade.

    Args:
        matrix: How often each true class (row) was called each class (column), (K, K).

    Returns:
        `kind` (`right` or `wrong`), `shade` (1 to 5, from the share of the true class) and `path`, in units of a cell.
    """
    cell_size = max(1.0, len(matrix) / MAX_EXACT_CLASSES)
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(np.sqrt(fractions) * NUM_SHADES).astype(int)  # most mistakes are small shares
    diagonal = np.eye(len(matrix), dtype=bool)
    top_mistakes = np.argsort(-np.where(diagonal, 0, matrix), axis=None, kind="stable")[:MAX_CELLS]
    visible = diagonal.copy()
    visible.flat[top_mistakes] = True
    return [
        {"kind": kind, "shade": shade, "path": square_path(np.argwhere(visible & mask & (shades == shade)), cell_size)}
        for kind, mask in (("wrong", ~diagonal), ("right", diagonal))
        for shade in range(1, NUM_SHADES + 1)
        if (visible & mask & (shades == shade)).any()
    ]


def square_path(cells: Sequence[Sequence[int]] | npt.NDArray[np.int64], cell_size: float) -> str:
    """A path of squares around the middles of cells, given as rows and columns."""
    offset = (1 - cell_size) / 2
    return "".join(
        f"M{column + offset:g} {row + offset:g}h{cell_size:g}v{cell_size:g}h-{cell_size:g}z" for row, column in cells
    )
