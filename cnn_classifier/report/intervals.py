"""How far a score may be from what it would be on endlessly many images: intervals of 95 %."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Z = 1.96  # standard deviations on either side that hold 95 % of a normal distribution
DRAWS = 1000  # of the bootstrap
DRAWS_AT_ONCE = 100  # bounds the memory where many pairs of classes occur


def wilson(share: float, count: int) -> tuple[float, float]:
    """The interval of a share of so many answers (E. B. Wilson 1927); unlike a normal one it stays within 0 and 1."""
    centre = (share + Z**2 / (2 * count)) / (1 + Z**2 / count)
    spread = Z * math.sqrt(share * (1 - share) / count + Z**2 / (4 * count**2)) / (1 + Z**2 / count)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def macro_f1_interval(matrix: npt.NDArray[np.int64], *, seed: int = 0) -> tuple[float, float]:
    """The interval of the macro F1 by percentiles of the bootstrap (Efron 1979).

    Images of one true and one predicted class are alike to it: to draw images anew is to draw how many fall into each
    cell of the confusion matrix, which takes milliseconds.

    Args:
        matrix: How often each true class (row) was called each class (column), (K, K).
        seed: Of the draws.
    """
    true, said = np.nonzero(matrix)
    shares = matrix[true, said] / matrix.sum()
    cells = np.arange(len(true))
    of_hit = csr_array((true == said, (cells, true)), shape=(len(true), len(matrix)), dtype=np.int64)
    of_class = csr_array((np.ones(2 * len(true), int), (np.tile(cells, 2), np.concatenate([true, said]))), of_hit.shape)
    generator = np.random.default_rng(seed)
    scores = []
    for _ in range(DRAWS // DRAWS_AT_ONCE):
        drawn = generator.multinomial(matrix.sum(), shares, size=DRAWS_AT_ONCE)
        hits, calls = drawn @ of_hit, drawn @ of_class
        f1 = 2 * hits / np.maximum(calls, 1)
        scores.append(f1.sum(axis=1) / (calls > 0).sum(axis=1))  # over the classes that occur, as in `scores()`
    low, high = np.percentile(np.concatenate(scores), [2.5, 97.5])
    return float(low), float(high)
