"""A sweep's folder: which of its jobs are done, and how they rank; told anew after each job."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnn_classifier.config import Config, keep_words
from cnn_classifier.errors import DivergedError
from cnn_classifier.report.leaderboard_page import write_leaderboard_page
from cnn_classifier.secrets import masked_words
from cnn_classifier.status import DONE, FINISHED, RUNNING, Status, read_status
from cnn_classifier.storage import write_csv
from cnn_classifier.sweep.job import remove_if_empty, run_job, shown

COLUMNS = ("run", "changed", "val_accuracy", "val_loss", "test_accuracy", "seconds", "status")
BEST = "best.ckpt"
LAST = "last.ckpt"
MULTIRUN = "multirun.yaml"  # Hydra's, of a sweep that began
AS_IT_IS = "nothing"  # of a job that changes nothing which others do not
RESUME = "sweep.resume="  # a word of the whole sweep, of none of its jobs
# Words that say where a job runs, not what it is.
WHERE = ("sweep.", "run_dir=", "resume=", "+callbacks.pruning=")


class Leaderboard:
    """The jobs of one sweep, each in a folder of its own, known by the words of their commands.

    Args:
        folder: Of the sweep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, config: Config, run_dir: Path, words: Sequence[str], *, debug: bool) -> Status:
        """Run a job, unless it is done or another process is at it; one that was cut off goes on.

        Args:
            config: Of the job.
            run_dir: The folder to use if the sweep has none for these words yet.
            words: What the job changes.
            debug: Whether errors that are no user's come through.
        """
        self.mask()
        before = self.find(words)
        if before is not None and before.state in (*FINISHED, RUNNING):
            print(f"{before.run_dir}: {before.state} already: {' '.join(masked_words(words))}")
            return replace(before, exit_code=0)
        if before is not None and goes_on(before):
            config.resume = "auto"
        config.sweep.name = self.folder.name
        job_dir = self.free(run_dir) if before is None else before.run_dir
        print(f"\n{job_dir}: {' '.join(masked_words(words))}")
        try:
            return run_job(config, job_dir, words, debug=debug, keep=True)
        finally:
            self.write()

    def statuses(self) -> list[Status]:
        """Of all jobs, the best on validation first, equal ones by their loss, those without a result last."""
        folders = sorted((path for path in self.folder.glob("*") if path.is_dir()), key=by_number)
        found = [status for path in folders if (status := read_status(path))]
        return sorted(found, key=rank)

    def find(self, words: Sequence[str]) -> Status | None:
        """The job of these words, in whatever order, but for those that say where it runs."""
        asked = sorted(masked_words(what(words)))
        return next((status for status in self.statuses() if sorted(what(status.words)) == asked), None)

    def free(self, run_dir: Path) -> Path:
        """This folder, or one with the next free number if a job has it that other words named."""
        number = 0
        while read_status(run_dir) is not None:
            number += 1
            run_dir = self.folder / str(number)
        return run_dir

    def table(self) -> str:
        """The jobs in aligned columns."""
        rows = [list(COLUMNS), *rows_of(self.statuses())]
        widths = [max(len(cells[column]) for cells in rows) for column in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows
        )

    def sum_up(self) -> list[Status]:
        """Print the table of a sweep that has ended; one of which nothing began leaves no folder.

        Returns:
            The jobs, in the order of their numbers.
        """
        if not (statuses := self.statuses()):
            (self.folder / MULTIRUN).unlink(missing_ok=True)
            remove_if_empty(self.folder)
            return []
        self.write(has_ended=True)
        print(f"\n{self.table()}\n{shown(self.folder / 'leaderboard.html')}")
        return sorted(statuses, key=lambda status: by_number(status.run_dir))

    def mask(self) -> None:
        """Leave passwords and keys out of what Hydra has written of the sweep."""
        if (path := self.folder / MULTIRUN).is_file():
            keep_words(path)

    def write(self, *, has_ended: bool = False) -> None:
        """Write `leaderboard.csv` and `leaderboard.html`, which looks again until the end; link the best checkpoint."""
        statuses = self.statuses()
        write_csv(self.folder / "leaderboard.csv", [COLUMNS, *rows_of(statuses)])
        write_leaderboard_page(self.folder / "leaderboard.html", statuses, refresh=not has_ended)
        if statuses and statuses[0].state == DONE:
            link(self.folder / BEST, statuses[0].run_dir / "checkpoints" / BEST)


def what(words: Sequence[str]) -> list[str]:
    """The words that say what a job is."""
    return [word for word in words if not word.startswith(WHERE)]


def by_number(folder: Path) -> tuple[int, str]:
    """What jobs are sorted by: 2 comes before 10."""
    return len(folder.name), folder.name


def goes_on(status: Status) -> bool:
    """Whether a job that has not finished begins at its last checkpoint, rather than anew."""
    return status.exit_code != DivergedError.exit_code and (status.run_dir / "checkpoints" / LAST).is_file()


def rank(status: Status) -> tuple[float, float]:
    if status.state != DONE or status.val_accuracy is None or status.val_loss is None:
        return (1.0, 0.0)
    return (-status.val_accuracy, status.val_loss)


def rows_of(statuses: Sequence[Status]) -> list[list[str]]:
    """The cells of each job, in the order of `COLUMNS`; words that all of them have say nothing."""
    common = set.intersection(*(set(status.words) for status in statuses)) if len(statuses) > 1 else set()
    rows = []
    for status in statuses:
        measured = (status.val_accuracy, status.val_loss, status.test_accuracy, status.seconds)
        numbers = ["" if value is None else f"{value:.4g}" for value in measured]
        changed = " ".join(word for word in status.words if word not in common) or AS_IT_IS
        told = f"{status.state}: {status.message}" if status.message else status.state
        rows.append([status.run_dir.name, changed, *numbers, told])
    return rows


def link(path: Path, target: Path) -> None:
    """Let `path` be the target: a link where the system can, a copy elsewhere."""
    if not target.is_file():
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(os.path.relpath(target, path.parent))
    except OSError:
        shutil.copy(target, partial)
    partial.replace(path)
