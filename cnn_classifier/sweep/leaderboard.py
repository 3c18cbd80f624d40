"""The jobs of a sweep directory and their ranking, written to `leaderboard.csv` and `leaderboard.html`."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnn_classifier.config.compose import Config, redact_multirun_yaml
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.errors import DivergedError
from cnn_classifier.files import BEST_CHECKPOINT, LAST_CHECKPOINT, display_path, remove_if_empty, write_csv
from cnn_classifier.report.pages.leaderboard import (
    has_same_images,
    note_different_images,
    read_split_images,
    val_interval,
    write_leaderboard_page,
)
from cnn_classifier.report.text_table import format_table
from cnn_classifier.sweep.job import run_job
from cnn_classifier.training.status import DONE, FINISHED, RUNNING, Status, read_status

COLUMNS = (
    *("run", "changed", "val_accuracy", "val_interval", "val_images", "val_loss", "test_accuracy", "seconds"),
    "status",
)
SAME_IMAGES = "same_images"  # column of `leaderboard.csv`: whether a job was measured on the images of the first job
MULTIRUN_YAML = "multirun.yaml"  # written by Hydra when a sweep starts
NO_CHANGES = "nothing"  # shown for a job without overrides of its own
RESUME_OVERRIDE = "sweep.resume="  # belongs to the sweep, not to its jobs
# Overrides that determine where a job runs, not what it computes.
LOCATION_OVERRIDES = ("sweep.", "run_dir=", "resume=", "+callbacks.pruning=")


class Leaderboard:
    """The jobs of one sweep, each in its own subdirectory and identified by its overrides.

    Args:
        sweep_dir: The sweep directory.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self.sweep_dir = sweep_dir

    def run(self, config: Config, run_dir: Path, overrides: Sequence[str], *, debug: bool) -> Status:
        """Run a job, or resume it; skip it if it is finished or running in another process.

        Args:
            config: The composed configuration of the job.
            run_dir: The run directory to use if no job of the sweep has these overrides.
            overrides: The command-line overrides of the job.
            debug: Whether to print tracebacks and to re-raise unexpected errors.

        Returns:
            The final status of the job.
        """
        self.redact()
        previous_status = self.find_status(overrides)
        if previous_status is not None and previous_status.state in (*FINISHED, RUNNING):
            print(format_skipped(previous_status, overrides))
            return replace(previous_status, exit_code=0)
        if previous_status is not None and can_resume(previous_status):
            config.resume = "auto"
        config.sweep.name = self.sweep_dir.name
        job_dir = self.next_free_dir(run_dir) if previous_status is None else previous_status.run_dir
        print(f"\n{job_dir}: {' '.join(redact_overrides(overrides))}")
        try:
            return run_job(config, job_dir, overrides, debug=debug, start_time=time.time(), keep_status=True)
        finally:
            self.write()

    def read_statuses(self) -> list[Status]:
        """Return the statuses of all jobs, sorted by validation accuracy, then loss; jobs without a result last."""
        run_dirs = sorted((path for path in self.sweep_dir.glob("*") if path.is_dir()), key=job_number_key)
        job_statuses = [status for path in run_dirs if (status := read_status(path))]
        return sorted(job_statuses, key=ranking_key)

    def find_status(self, overrides: Sequence[str]) -> Status | None:
        """Return the status of the job with these overrides in any order; None if there is none."""
        requested = sorted(redact_overrides(job_overrides(overrides)))
        return next(
            (status for status in self.read_statuses() if sorted(job_overrides(status.overrides)) == requested), None
        )

    def next_free_dir(self, run_dir: Path) -> Path:
        """Return the given directory if it is unused, otherwise the next free numbered one."""
        number = 0
        while read_status(run_dir) is not None:
            number += 1
            run_dir = self.sweep_dir / str(number)
        return run_dir

    def format_table(self) -> str:
        """Return the leaderboard as text with aligned columns."""
        statuses = self.read_statuses()
        return "\n".join([format_table([COLUMNS, *build_rows(statuses)]), *note_different_images(statuses)])

    def finalize(self) -> list[Status]:
        """Print the final table; remove the sweep directory if no job started.

        Returns:
            The statuses of the jobs, in job order.
        """
        if not (statuses := self.read_statuses()):
            (self.sweep_dir / MULTIRUN_YAML).unlink(missing_ok=True)
            remove_if_empty(self.sweep_dir)
            return []
        self.write(has_ended=True)
        print(f"\n{self.format_table()}\n{display_path(self.sweep_dir / 'leaderboard.html')}")
        return sorted(statuses, key=lambda status: job_number_key(status.run_dir))

    def redact(self) -> None:
        """Remove passwords and keys from the `multirun.yaml` that Hydra wrote."""
        if (path := self.sweep_dir / MULTIRUN_YAML).is_file():
            redact_multirun_yaml(path)

    def write(self, *, has_ended: bool = False) -> None:
        """Write `leaderboard.csv` and `leaderboard.html`, and link the best checkpoint.

        Args:
            has_ended: Whether the sweep has ended; until then the page reloads itself.
        """
        statuses = self.read_statuses()
        same_images = [{None: "", True: "yes", False: "no"}[has_same_images(job, statuses[0])] for job in statuses]
        rows = [[*row, same] for row, same in zip(build_rows(statuses), same_images, strict=True)]
        write_csv(self.sweep_dir / "leaderboard.csv", [(*COLUMNS, SAME_IMAGES), *rows])
        write_leaderboard_page(self.sweep_dir / "leaderboard.html", statuses, refresh=not has_ended)
        if statuses and statuses[0].state == DONE:
            link_or_copy(self.sweep_dir / BEST_CHECKPOINT.name, statuses[0].run_dir / BEST_CHECKPOINT)


def job_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that determine what a job computes."""
    kept = [override for override in overrides if not override.startswith(LOCATION_OVERRIDES)]
    return [override.removeprefix("++") if override.startswith("++model.") else override for override in kept]


def job_number_key(folder: Path) -> tuple[int, str]:
    """Return a sort key that puts job 2 before job 10."""
    return len(folder.name), folder.name


def can_resume(status: Status) -> bool:
    """Return whether an unfinished job can resume from its last checkpoint; a diverged job starts again."""
    return status.exit_code != DivergedError.exit_code and (status.run_dir / LAST_CHECKPOINT).is_file()


def format_skipped(status: Status, overrides: Sequence[str]) -> str:
    """Return the console line for a job that is not run again."""
    return f"{status.run_dir}: skipped, already {status.state}: {' '.join(redact_overrides(overrides))}"


def ranking_key(status: Status) -> tuple[float, float]:
    """Return a sort key: highest validation accuracy, lowest validation loss, then finished jobs that have neither."""
    if status.state != DONE:
        return (2.0, 0.0)
    if status.val_accuracy is None or status.val_loss is None:
        return (1.0, 0.0)
    return (-status.val_accuracy, status.val_loss)


def build_rows(statuses: Sequence[Status]) -> list[list[str]]:
    """Return one row of cells per job, in the order of `COLUMNS`; overrides that all jobs share are omitted."""
    common = set.intersection(*(set(status.overrides) for status in statuses)) if len(statuses) > 1 else set()
    rows = []
    for status in statuses:
        metrics = (status.val_accuracy, status.val_loss, status.test_accuracy, status.seconds)
        accuracy, *numbers = ["" if value is None else f"{value:.4g}" for value in metrics]
        low_high, images = val_interval(status), read_split_images(status.run_dir).get("val", ())
        interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
        numbers = [accuracy, interval, str(len(images) or ""), *numbers]
        changed = " ".join(override for override in status.overrides if override not in common) or NO_CHANGES
        state = f"{status.state}: {status.message}" if status.message else status.state
        rows.append([status.run_dir.name, changed, *numbers, state])
    return rows


def link_or_copy(path: Path, target: Path) -> None:
    """Link `path` to the target, or copy the target if symbolic links are not supported."""
    if not target.is_file():
        return
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(os.path.relpath(target, path.parent))
    except OSError:
        shutil.copy(target, partial)
    partial.replace(path)
