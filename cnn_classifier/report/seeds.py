"""The same training with several seeds: what it gives on average, and whether two ways really differ."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import ttest_ind

from cnn_classifier.report.comparison import SIGNIFICANT, holm


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Args:
        words: What they changed, but for the seed.
        values: The accuracy of each.
        p: That a difference as large as from the first group would come by chance, as Welch's t-test has it, times the
            number of groups as Holm has it; None for the first group, and where a group has a single run.
    """

    words: tuple[str, ...]
    values: Sequence[float]
    p: float | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Of the runs; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def is_really_worse(self) -> bool:
        return self.p is not None and self.p < SIGNIFICANT


def grouped(runs: Iterable[tuple[Sequence[str], float]]) -> list[Group]:
    """Runs by their words, the highest mean first.

    Args:
        runs: The words and the accuracy of each.
    """
    values: dict[tuple[str, ...], list[float]] = {}
    for words, accuracy in runs:
        values.setdefault(tuple(word for word in words if not word.startswith("seed=")), []).append(accuracy)
    groups = sorted((Group(words, found) for words, found in values.items()), key=lambda group: -group.mean)
    others = groups[1:]
    corrected = holm([welch(groups[0].values, group.values) for group in others])
    return [*groups[:1], *(Group(group.words, group.values, p) for group, p in zip(others, corrected, strict=True))]


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """The p-value of Welch's t-test (1947); None if a side has a single value, or no side varies."""
    if min(len(first), len(second)) < 2:
        return None
    p = float(ttest_ind(first, second, equal_var=False).pvalue)
    return None if math.isnan(p) else p
