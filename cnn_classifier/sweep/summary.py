"""One table at the end of a sweep: what each run changed, and how it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnn_classifier.storage import write_csv

COLUMNS = ("run", "changed", "val_accuracy", "val_loss", "test_accuracy", "seconds", "status")


@dataclass(frozen=True)
class Outcome:
    """How one run of a sweep, or a run on its own, ended.

    Args:
        run_dir: Its folder.
        overrides: What its command changed.
        exit_code: 0, or what the run alone would have returned.
        message: What went wrong, if something did.
        val_accuracy: Of the best checkpoint, on the validation images.
        val_loss: Likewise.
        test_accuracy: On the test images; shown, never chosen by.
        seconds: From start to report.
    """

    run_dir: Path
    overrides: Sequence[str]
    exit_code: int = 0
    message: str = ""
    val_accuracy: float | None = None
    val_loss: float | None = None
    test_accuracy: float | None = None
    seconds: float | None = None

    def row(self) -> list[str]:
        """The cells of this run, in the order of `COLUMNS`."""
        measured = (self.val_accuracy, self.val_loss, self.test_accuracy, self.seconds)
        numbers = ["" if value is None else f"{value:.4g}" for value in measured]
        return [self.run_dir.name, " ".join(self.overrides), *numbers, self.message or "ok"]


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The best on validation first, equal ones by their loss, failed runs last."""

    def rank(outcome: Outcome) -> tuple[float, float]:
        if outcome.val_accuracy is None or outcome.val_loss is None:
            return (1.0, 0.0)
        return (-outcome.val_accuracy, outcome.val_loss)

    return sorted(outcomes, key=rank)


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
