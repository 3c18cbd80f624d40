"""How far a score may be from what it would be on endlessly many images: intervals of 95 %."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Z_95 = 1.96  # standard deviations on either side that hold 95 % of a normal distribution
NUM_RESAMPLES = 1000  # of the bootstrap
RESAMPLES_PER_BATCH = 100  # bounds the memory where many pairs of classes occur


def wilson_interval(proportion: float, count: int) -> tuple[float, float]:
    """The interval of a share of so many answers (E. B. Wilson 1927); unlike a normal one it stays within 0 and 1."""
    center = (proportion + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    margin = Z_95 * math.sqrt(proportion * (1 - proportion) / count + Z_95**2 / (4 * count**2)) / (1 + Z_95**2 / count)
    return max(0.0, center - margin), min(1.0, center + margin)


def macro_f1_interval(matrix: npt.NDArray[np.int64], *, seed: int = 0) -> tuple[float, float]:
    """The interval of the macro F1 by percentiles of the bootstrap (Efron 1979).

    Images of one true and one predicted class are alike to it: to draw images anew is to draw how many fall into each
    cell of the confusion matrix, which takes milliseconds.

    Args:
        matrix: How often each true class (row) was called each class (column), (K, K).
        seed: Of the draws.
    """
    true, predicted = np.nonzero(matrix)
    cell_probabilities = matrix[true, predicted] / matrix.sum()
    cells = np.arange(len(true))
    hit_matrix = csr_array((true == predicted, (cells, true)), shape=(len(true), len(matrix)), dtype=np.int64)
    class_matrix = csr_array(
        (np.ones(2 * len(true), int), (np.tile(cells, 2), np.concatenate([true, predicted]))), hit_matrix.shape
    )
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(NUM_RESAMPLES // RESAMPLES_PER_BATCH):
        resampled = rng.multinomial(matrix.sum(), cell_probabilities, size=RESAMPLES_PER_BATCH)
        hits, totals = resampled @ hit_matrix, resampled @ class_matrix
        f1 = 2 * hits / np.maximum(totals, 1)
        scores.append(f1.sum(axis=1) / (totals > 0).sum(axis=1))  # over the classes that occur, as in `scores()`
    low, high = np.percentile(np.concatenate(scores), [2.5, 97.5])
    return float(low), float(high)
