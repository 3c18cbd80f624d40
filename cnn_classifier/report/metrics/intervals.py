"""95 % confidence intervals for accuracy and macro F1."""

import math

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Z_95 = 1.96  # the two-sided 95 % quantile of the standard normal distribution
NUM_RESAMPLES = 1000
RESAMPLES_PER_BATCH = 100  # bounds the memory if the confusion matrix has many non-empty cells


def wilson_interval(proportion: float, count: int) -> tuple[float, float]:
    """Return the score interval of a proportion (E. B. Wilson 1927), which stays within [0, 1].

    Equal to `binomtest(...).proportion_ci(method="wilson")` up to the rounding of `Z_95`, without the slow import of
    `scipy.stats`.

    Args:
        proportion: The observed proportion, from 0 to 1.
        count: The number of observations.
    """
    center = (proportion + Z_95**2 / (2 * count)) / (1 + Z_95**2 / count)
    margin = Z_95 * math.sqrt(proportion * (1 - proportion) / count + Z_95**2 / (4 * count**2)) / (1 + Z_95**2 / count)
    return max(0.0, center - margin), min(1.0, center + margin)


def macro_f1_interval(matrix: npt.NDArray[np.int64], *, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the macro F1 (Efron 1979).

    Resampling images is equivalent to drawing the cell counts of the confusion matrix from a multinomial distribution,
    which takes milliseconds.

    Args:
        matrix: The confusion matrix with true classes as rows, shape (K, K).
        seed: The seed of the random number generator.
    """
    true, predicted = np.nonzero(matrix)
    cell_probabilities = matrix[true, predicted] / matrix.sum()
    cells = np.arange(len(true))
    hit_matrix = csr_array((true == predicted, (cells, true)), shape=(len(true), len(matrix)), dtype=np.int64)
    class_matrix = csr_array(
        (np.ones(2 * len(true), int), (np.tile(cells, 2), np.concatenate([true, predicted]))), hit_matrix.shape
    )
    true_matrix = csr_array((np.ones(len(true), int), (cells, true)), shape=hit_matrix.shape)
    rng = np.random.default_rng(seed)
    scores = []
    for _ in range(NUM_RESAMPLES // RESAMPLES_PER_BATCH):
        resampled = rng.multinomial(matrix.sum(), cell_probabilities, size=RESAMPLES_PER_BATCH)
        hits, totals = resampled @ hit_matrix, resampled @ class_matrix
        f1 = 2 * hits / np.maximum(totals, 1)
        has_images = resampled @ true_matrix > 0
        scores.append((f1 * has_images).sum(axis=1) / has_images.sum(axis=1))  # as in `Evaluation.scores`
    low, high = np.percentile(np.concatenate(scores), [2.5, 97.5])
    return float(low), float(high)
