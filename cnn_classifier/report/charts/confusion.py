"""The confusion matrix of many classes as SVG paths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_TABLE_CLASSES = 25  # with more classes the matrix is drawn instead of tabulated
NUM_SHADES = 5
MAX_CELLS = 10_000  # off-diagonal cells that are drawn, largest counts first
MAX_EXACT_CLASSES = 150  # with more classes the cells are enlarged, since they would not be visible


def confusion_paths(matrix: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Return the non-empty cells as one path per shade.

    Args:
        matrix: The confusion matrix with true classes as rows, shape (K, K).

    Returns:
        `kind` (`correct` or `incorrect`), `shade` (1 to 5, from the fraction of the true class) and `path` in units of
        a cell.
    """
    cell_size = max(1.0, len(matrix) / MAX_EXACT_CLASSES)
    fractions = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(np.sqrt(fractions) * NUM_SHADES).astype(int)  # the square root makes small fractions visible
    diagonal = np.eye(len(matrix), dtype=bool)
    top_mistakes = np.argsort(-np.where(diagonal, 0, matrix), axis=None, kind="stable")[:MAX_CELLS]
    visible = diagonal.copy()
    visible.flat[top_mistakes] = True
    return [
        {"kind": kind, "shade": shade, "path": square_path(np.argwhere(visible & mask & (shades == shade)), cell_size)}
        for kind, mask in (("incorrect", ~diagonal), ("correct", diagonal))
        for shade in range(1, NUM_SHADES + 1)
        if (visible & mask & (shades == shade)).any()
    ]


def square_path(cells: Sequence[Sequence[int]] | npt.NDArray[np.int64], cell_size: float) -> str:
    """Return an SVG path of squares centered on cells.

    Args:
        cells: The row and column of each cell.
        cell_size: The side of a square in units of a cell.
    """
    offset = (1 - cell_size) / 2
    return "".join(
        f"M{column + offset:g} {row + offset:g}h{cell_size:g}v{cell_size:g}h-{cell_size:g}z" for row, column in cells
    )
