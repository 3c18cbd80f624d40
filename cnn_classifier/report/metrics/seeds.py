"""Mean, standard deviation and significance of runs that differ in their seeds."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import ttest_ind

from cnn_classifier.report.metrics.comparison import SIGNIFICANCE_LEVEL, holm_correction


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seeds only.

    Args:
        overrides: The command-line overrides of the runs without the seed.
        accuracies: The validation accuracy of each run, from 0 to 1.
        p_value: The Holm-corrected p-value of Welch's t-test against the best group. None for the best group, and if
            either group has a single run.
    """

    overrides: tuple[str, ...]
    accuracies: Sequence[float]
    p_value: float | None = None

    @property
    def mean(self) -> float:
        """The mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """The sample standard deviation of the accuracies; None for a single run."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def is_significantly_worse(self) -> bool:
        """True if the mean is significantly below that of the best group."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE_LEVEL


def group_by_config(runs: Iterable[tuple[Sequence[str], float]]) -> list[SeedGroup]:
    """Group runs by their overrides without the seed, in descending order of the mean accuracy.

    Args:
        runs: The overrides and the validation accuracy of each run.
    """
    accuracies_by_config: dict[tuple[str, ...], list[float]] = {}
    for overrides, accuracy in runs:
        accuracies_by_config.setdefault(
            tuple(override for override in overrides if not override.startswith("seed=")), []
        ).append(accuracy)
    groups = sorted(
        (SeedGroup(overrides, accuracies) for overrides, accuracies in accuracies_by_config.items()),
        key=lambda group: -group.mean,
    )
    others = groups[1:]
    p_values = holm_correction([welch_test(groups[0].accuracies, group.accuracies) for group in others])
    return [
        *groups[:1],
        *(SeedGroup(group.overrides, group.accuracies, p) for group, p in zip(others, p_values, strict=True)),
    ]


def welch_test(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return the p-value of Welch's t-test (1947), or None if a sample has a single value or both have no variance."""
    if min(len(first), len(second)) < 2:
        return None
    p = float(ttest_ind(first, second, equal_var=False).pvalue)
    return None if math.isnan(p) else p
