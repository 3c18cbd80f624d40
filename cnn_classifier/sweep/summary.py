"""One table at the end of a sweep: what each run changed, and how it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.storage import write_csv

COLUMNS = ("run", "changed", "accuracy", "f1_macro", "seconds", "status")


@dataclass(frozen=True)
class Outcome:
    """How one run of a sweep, or a run on its own, ended.

    Args:
        run_dir: Its folder.
        overrides: What its command changed.
        exit_code: 0, or what the run alone would have returned.
        message: What went wrong, if something did.
        accuracy: On the test images.
        f1_macro: On the test images.
        seconds: From start to report.
    """

    run_dir: Path
    overrides: Sequence[str]
    exit_code: int = 0
    message: str = ""
    accuracy: float | None = None
    f1_macro: float | None = None
    seconds: float | None = None

    def row(self) -> list[str]:
        """The cells of this run, in the order of `COLUMNS`."""
        numbers = [
            "" if value is None else f"{value:.{digits}f}"
            for value, digits in ((self.accuracy, 4), (self.f1_macro, 4), (self.seconds, 1))
        ]
        return [self.run_dir.name, " ".join(self.overrides), *numbers, self.message or "ok"]


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The best test accuracy first, failed runs last."""
    return sorted(outcomes, key=lambda outcome: -1 if outcome.accuracy is None else outcome.accuracy, reverse=True)


def table(outcomes: Sequence[Outcome]) -> str:
    """The runs in aligned columns."""
    rows = [list(COLUMNS), *(outcome.row() for outcome in ranked(outcomes))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def write_table(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the same rows as CSV."""
    write_csv(path, [COLUMNS, *(outcome.row() for outcome in ranked(outcomes))])
