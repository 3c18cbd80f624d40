"""The HTML leaderboard of a sweep: ranked jobs, seeds, significance tests and parallel coordinates."""

import csv
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from cnn_classifier.files import REPORT_HTML, SPLIT_FILE
from cnn_classifier.report.charts.parallel_coordinates import build_parallel_coordinates
from cnn_classifier.report.charts.svg import Content, Line, build_axis, build_chart
from cnn_classifier.report.metrics.comparison import (
    DEFAULT_LABEL,
    Run,
    compare_pairs,
    parse_overrides,
    read_correctness,
)
from cnn_classifier.report.metrics.intervals import wilson_interval
from cnn_classifier.report.metrics.seeds import group_by_config
from cnn_classifier.report.pages.html import write_page

REFRESH_SECONDS = 5  # interval at which the browser reloads the page while the sweep is running
MAX_PAIRS = 10
TIME_UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
MIN_UNITS = 2  # an axis that reaches fewer uses the next smaller unit
DONE = "done"  # the state of a job that has finished


class JobStatus(Protocol):
    """The attributes of a job that the page shows; `training.status.Status` has them."""

    @property
    def run_dir(self) -> Path:
        """The run directory."""

    @property
    def overrides(self) -> Sequence[str]:
        """The command-line overrides of the job."""

    @property
    def state(self) -> str:
        """The state, such as `running`, `done` or `failed`."""

    @property
    def message(self) -> str:
        """The error message; empty if there is none."""

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""

    @property
    def max_epochs(self) -> int:
        """The planned number of epochs."""

    @property
    def val_accuracy(self) -> float | None:
        """The validation accuracy, from 0 to 1."""

    @property
    def val_loss(self) -> float | None:
        """The validation loss."""

    @property
    def test_accuracy(self) -> float | None:
        """The test accuracy, from 0 to 1."""

    @property
    def seconds(self) -> float | None:
        """The duration of the job."""


def write_leaderboard_page(path: Path, statuses: Sequence[JobStatus], *, refresh: bool) -> None:
    """Write the leaderboard as a self-contained HTML file.

    Args:
        path: The output file in the sweep directory; links to the reports of the jobs are relative to it.
        statuses: The status of each job, in the order of the ranking.
        refresh: Whether the browser reloads the page periodically.

    Raises:
        StorageError: If the file cannot be written.
    """
    completed = [status for status in statuses if status.state == DONE and status.val_accuracy is not None]
    job_options = [parse_overrides(status.overrides) for status in statuses]
    changed_keys = [
        key for key in dict.fromkeys(key for option in job_options for key in option) if is_varied(key, job_options)
    ]
    groups = group_by_config([(status.overrides, status.val_accuracy or 0.0) for status in completed])
    write_page(
        path,
        "leaderboard.html.j2",
        statuses=statuses,
        counts={state: sum(s.state == state for s in statuses) for state in dict.fromkeys(s.state for s in statuses)},
        refresh_seconds=REFRESH_SECONDS if refresh else None,
        changed_keys=changed_keys,
        options=[select_options(status, changed_keys) for status in statuses],
        report_links=[
            f"{s.run_dir.name}/{REPORT_HTML}" if (s.run_dir / REPORT_HTML).is_file() else None for s in statuses
        ],
        common_overrides=set.intersection(*(set(group.overrides) for group in groups)) if groups else set(),
        groups=groups if any(len(group.accuracies) > 1 for group in groups) else [],
        intervals=[val_interval(status) for status in statuses],
        notes=note_different_images(statuses),
        importance=load_importance(path.parent),
        pairs=compare_top_jobs(completed[: MAX_PAIRS + 1]),
        time_chart=build_time_chart(completed) if len(completed) > 1 else None,
        parallel_coordinates=build_parallel_coordinates(
            [(select_options(status, changed_keys), status.val_accuracy or 0.0) for status in completed], changed_keys
        ),
    )


def read_split_images(run_dir: Path) -> dict[str, frozenset[str]]:
    """Return the paths of the images of each split of a run; empty if its `split.csv` cannot be read."""
    images: dict[str, set[str]] = {}
    with suppress(OSError, KeyError), (run_dir / SPLIT_FILE).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            images.setdefault(row["split"], set()).add(row["path"])
    return {split: frozenset(paths) for split, paths in images.items()}


def has_same_images(status: JobStatus, reference: JobStatus) -> bool | None:
    """Return whether two jobs were measured on the same validation and test images; None if one has no result."""
    splits = [read_split_images(job.run_dir) for job in (status, reference) if job.val_accuracy is not None]
    if len(splits) < 2 or not all(splits):
        return None
    return all(splits[0].get(name) == splits[1].get(name) for name in ("val", "test"))


def note_different_images(statuses: Sequence[JobStatus]) -> list[str]:
    """Return a note if the validation or test images differ between the jobs that have a result."""
    splits = [read_split_images(status.run_dir) for status in statuses if status.val_accuracy is not None]
    different = [name for name in ("val", "test") if len({split[name] for split in splits if name in split}) > 1]
    if not different:
        return []
    names = " and ".join({"val": "validation", "test": "test"}[name] for name in different)
    return [
        f"The jobs were measured on different {names} images, because options such as dataset.split_seed or "
        "dataset.max_per_class change the split, so their accuracies are not directly comparable. "
        "dataset.split_file=RUN/split.csv gives all jobs the same split."
    ]


def val_interval(status: JobStatus) -> tuple[float, float] | None:
    """Return the 95 % Wilson interval of the validation accuracy; None without a result."""
    count = len(read_split_images(status.run_dir).get("val", ()))
    return wilson_interval(status.val_accuracy, count) if status.val_accuracy is not None and count else None


def load_importance(folder: Path) -> dict[str, float]:
    """Return the importance of each option of a search in descending order; empty without a search."""
    try:
        importances = json.loads((folder / "importance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(sorted(importances.items(), key=lambda item: -item[1]))


def select_options(status: JobStatus, keys: Sequence[str]) -> dict[str, str]:
    """Return the value of each of these options for a job."""
    return {key: parse_overrides(status.overrides).get(key, DEFAULT_LABEL) for key in keys}


def is_varied(key: str, options: Sequence[Mapping[str, str]]) -> bool:
    """Return whether an option has different values in different jobs."""
    return len({option.get(key) for option in options}) > 1


def compare_top_jobs(completed: Sequence[JobStatus]) -> list[dict[str, Any]]:
    """Test the best job against each other job on the test images."""
    runs = []
    for status in completed:
        with suppress(OSError, KeyError):  # the run directory was deleted
            runs.append(Run(f"job {status.run_dir.name}", {}, read_correctness(status.run_dir), {}))
    return compare_pairs(runs) if len(runs) > 1 else []


def build_time_chart(completed: Sequence[JobStatus]) -> Content:
    """Build the scatter plot of validation accuracy over the duration of each job."""
    max_seconds = max(status.seconds or 0.0 for status in completed)
    unit, unit_seconds = next((unit for unit in TIME_UNITS if max_seconds >= MIN_UNITS * unit[1]), TIME_UNITS[-1])
    points = [((status.seconds or 0.0) / unit_seconds, status.val_accuracy or 0.0) for status in completed]
    tooltips = [f"{status.run_dir.name}: {' '.join(status.overrides)}" for status in completed]
    dots = Line(name="jobs", css_class="dots", points=points, radii=[5.0] * len(points), tooltips=tooltips)
    x = build_axis(unit, [0.0, *(duration for duration, _ in points)])
    return build_chart(
        [dots], x=x, y=build_axis("validation accuracy", [value for _, value in points], as_percent=True)
    )
