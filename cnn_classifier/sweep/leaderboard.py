"""A sweep's folder: which of its jobs are done, and how they rank; told anew after each job."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnn_classifier.config.compose import Config, redact_multirun_yaml
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.errors import DivergedError
from cnn_classifier.files import write_csv
from cnn_classifier.report.pages.leaderboard import write_leaderboard_page
from cnn_classifier.sweep.job import display_path, remove_if_empty, run_job
from cnn_classifier.training.status import DONE, FINISHED, RUNNING, Status, read_status

COLUMNS = ("run", "changed", "val_accuracy", "val_loss", "test_accuracy", "seconds", "status")
BEST_CHECKPOINT = "best.ckpt"
LAST_CHECKPOINT = "last.ckpt"
MULTIRUN_YAML = "multirun.yaml"  # Hydra's, of a sweep that began
NO_CHANGES = "nothing"  # of a job that changes nothing which others do not
RESUME_OVERRIDE = "sweep.resume="  # a word of the whole sweep, of none of its jobs
# Words that say where a job runs, not what it is.
LOCATION_OVERRIDES = ("sweep.", "run_dir=", "resume=", "+callbacks.pruning=")


class Leaderboard:
    """The jobs of one sweep, each in a folder of its own, known by the words of their commands.

    Args:
        folder: Of the sweep.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir

    def run(self, config: Config, run_dir: Path, overrides: Sequence[str], *, debug: bool) -> Status:
        """Run a job, unless it is done or another process is at it; one that was cut off goes on.

        Args:
            config: Of the job.
            run_dir: The folder to use if the sweep has none for these words yet.
            words: What the job changes.
            debug: Whether errors that are no user's come through.
        """
        self.redact()
        previous_status = self.find_status(overrides)
        if previous_status is not None and previous_status.state in (*FINISHED, RUNNING):
            print(
                f"{previous_status.run_dir}: {previous_status.state} already: {' '.join(redact_overrides(overrides))}"
            )
            return replace(previous_status, exit_code=0)
        if previous_status is not None and can_resume(previous_status):
            config.resume = "auto"
        config.sweep.name = self.sweep_dir.name
        job_dir = self.next_free_dir(run_dir) if previous_status is None else previous_status.run_dir
        print(f"\n{job_dir}: {' '.join(redact_overrides(overrides))}")
        try:
            return run_job(config, job_dir, overrides, debug=debug, keep_status=True)
        finally:
            self.write()

    def read_statuses(self) -> list[Status]:
        """Of all jobs, the best on validation first, equal ones by their loss, those without a result last."""
        run_dirs = sorted((path for path in self.sweep_dir.glob("*") if path.is_dir()), key=job_number_key)
        job_statuses = [status for path in run_dirs if (status := read_status(path))]
        return sorted(job_statuses, key=ranking_key)

    def find_status(self, overrides: Sequence[str]) -> Status | None:
        """The job of these words, in whatever order, but for those that say where it runs."""
        requested = sorted(redact_overrides(job_overrides(overrides)))
        return next(
            (status for status in self.read_statuses() if sorted(job_overrides(status.overrides)) == requested), None
        )

    def next_free_dir(self, run_dir: Path) -> Path:
        """This folder, or one with the next free number if a job has it that other words named."""
        number = 0
        while read_status(run_dir) is not None:
            number += 1
            run_dir = self.sweep_dir / str(number)
        return run_dir

    def format_table(self) -> str:
        """The jobs in aligned columns."""
        rows = [list(COLUMNS), *build_rows(self.read_statuses())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )

    def finalize(self) -> list[Status]:
        """Print the table of a sweep that has ended; one of which nothing began leaves no folder.

        Returns:
            The jobs, in the order of their numbers.
        """
        if not (statuses := self.read_statuses()):
            (self.sweep_dir / MULTIRUN_YAML).unlink(missing_ok=True)
            remove_if_empty(self.sweep_dir)
            return []
        self.write(has_ended=True)
        print(f"\n{self.format_table()}\n{display_path(self.sweep_dir / 'leaderboard.html')}")
        return sorted(statuses, key=lambda status: job_number_key(status.run_dir))

    def redact(self) -> None:
        """Leave passwords and keys out of what Hydra has written of the sweep."""
        if (path := self.sweep_dir / MULTIRUN_YAML).is_file():
            redact_multirun_yaml(path)

    def write(self, *, has_ended: bool = False) -> None:
        """Write `leaderboard.csv` and `leaderboard.html`, which looks again until the end; link the best checkpoint."""
        statuses = self.read_statuses()
        write_csv(self.sweep_dir / "leaderboard.csv", [COLUMNS, *build_rows(statuses)])
        write_leaderboard_page(self.sweep_dir / "leaderboard.html", statuses, refresh=not has_ended)
        if statuses and statuses[0].state == DONE:
            link_or_copy(self.sweep_dir / BEST_CHECKPOINT, statuses[0].run_dir / "checkpoints" / BEST_CHECKPOINT)


def job_overrides(overrides: Sequence[str]) -> list[str]:
    """The words that say what a job is."""
    return [override for override in overrides if not override.startswith(LOCATION_OVERRIDES)]


def job_number_key(folder: Path) -> tuple[int, str]:
    """What jobs are sorted by: 2 comes before 10."""
    return len(folder.name), folder.name


def can_resume(status: Status) -> bool:
    """Whether a job that has not finished begins at its last checkpoint, rather than anew."""
    return status.exit_code != DivergedError.exit_code and (status.run_dir / "checkpoints" / LAST_CHECKPOINT).is_file()


def ranking_key(status: Status) -> tuple[float, float]:
    if status.state != DONE or status.val_accuracy is None or status.val_loss is None:
        return (1.0, 0.0)
    return (-status.val_accuracy, status.val_loss)


def build_rows(statuses: Sequence[Status]) -> list[list[str]]:
    """The cells of each job, in the order of `COLUMNS`; words that all of them have say nothing."""
    common = set.intersection(*(set(status.overrides) for status in statuses)) if len(statuses) > 1 else set()
    rows = []
    for status in statuses:
        metrics = (status.val_accuracy, status.val_loss, status.test_accuracy, status.seconds)
        numbers = ["" if value is None else f"{value:.4g}" for value in metrics]
        changed = " ".join(override for override in status.overrides if override not in common) or NO_CHANGES
        state = f"{status.state}: {status.message}" if status.message else status.state
        rows.append([status.run_dir.name, changed, *numbers, state])
    return rows


def link_or_copy(path: Path, target: Path) -> None:
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
