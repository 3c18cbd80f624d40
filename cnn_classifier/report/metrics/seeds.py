"""The same training with several seeds: what it gives on average, and whether two ways really differ."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import ttest_ind

from cnn_classifier.report.metrics.comparison import SIGNIFICANCE_LEVEL, holm_correction


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in their seeds alone.

    Args:
        words: What they changed, but for the seed.
        values: The accuracy of each.
        p: That a difference as large as from the first group would come by chance, as Welch's t-test has it, times the
            number of groups as Holm has it; None for the first group, and where a group has a single run.
    """

    overrides: tuple[str, ...]
    accuracies: Sequence[float]
    p_value: float | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Of the runs; None of a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def is_significantly_worse(self) -> bool:
        return self.p_value is not None and self.p_value < SIGNIFICANCE_LEVEL


def group_by_config(runs: Iterable[tuple[Sequence[str], float]]) -> list[SeedGroup]:
    """Runs by their words, the highest mean first.

    Args:
        runs: The words and the accuracy of each.
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
    """The p-value of Welch's t-test (1947); None if a side has a single value, or no side varies."""
    if min(len(first), len(second)) < 2:
        return None
    p = float(ttest_ind(first, second, equal_var=False).pvalue)
    return None if math.isnan(p) else p
