"""The confusion matrix of many classes, whose numbers nobody could read: a drawing of a few paths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_WRITTEN = 25  # classes up to which the matrix is a table of numbers
SHADES = 5
MOST_CELLS = 10_000  # drawn of the mistakes, the fullest first
FINEST = 150  # with more classes a cell is drawn larger than it is, or it could not be seen


def drawn_matrix(matrix: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """The cells that are not empty, as one path a shade.

    Args:
        matrix: How often each true class (row) was called each class (column), (K, K).

    Returns:
        `kind` (`right` or `wrong`), `shade` (1 to 5, from the share of the true class) and `path`, in units of a cell.
    """
    side = max(1.0, len(matrix) / FINEST)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = np.ceil(np.sqrt(shares) * SHADES).astype(int)  # most mistakes are small shares
    right = np.eye(len(matrix), dtype=bool)
    listed = np.argsort(-np.where(right, 0, matrix), axis=None, kind="stable")[:MOST_CELLS]
    kept = right.copy()
    kept.flat[listed] = True
    return [
        {"kind": kind, "shade": shade, "path": squares(np.argwhere(kept & chosen & (shades == shade)), side)}
        for kind, chosen in (("wrong", ~right), ("right", right))
        for shade in range(1, SHADES + 1)
        if (kept & chosen & (shades == shade)).any()
    ]


def squares(cells: Sequence[Sequence[int]] | npt.NDArray[np.int64], side: float) -> str:
    """A path of squares around the middles of cells, given as rows and columns."""
    shift = (1 - side) / 2
    return "".join(f"M{column + shift:g} {row + shift:g}h{side:g}v{side:g}h-{side:g}z" for row, column in cells)
