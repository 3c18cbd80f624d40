"""The page of a sweep: its jobs ranked, what their seeds tell, and how options and accuracy go together."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnn_classifier.report.charts.parallel_coordinates import build_parallel_coordinates
from cnn_classifier.report.charts.svg import Content, Line, build_axis, build_chart
from cnn_classifier.report.metrics.comparison import Run, compare_pairs
from cnn_classifier.report.metrics.comparison import read_correctness as answers_of
from cnn_classifier.report.metrics.seeds import group_by_config
from cnn_classifier.report.pages.html import write_page
from cnn_classifier.training.status import DONE, Status

REFRESH_SECONDS = 5  # seconds, as long as a sweep runs
MAX_PAIRS = 10
DEFAULT_LABEL = "default"  # of an option that other jobs change


def write_leaderboard_page(path: Path, statuses: Sequence[Status], *, refresh: bool) -> None:
    """Write one HTML file that needs neither network nor script.

    Args:
        path: The file, in the sweep's folder, so that it links to the jobs' reports.
        statuses: Of the jobs, ranked.
        refresh: Whether the browser looks again by itself.

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
        refresh=REFRESH_SECONDS if refresh else None,
        changed=changed_keys,
        options=[select_options(status, changed_keys) for status in statuses],
        reports=[f"{s.run_dir.name}/report.html" if (s.run_dir / "report.html").is_file() else None for s in statuses],
        common=set.intersection(*(set(group.overrides) for group in groups)) if groups else set(),
        groups=groups if any(len(group.accuracies) > 1 for group in groups) else [],
        importance=load_importance(path.parent),
        pairs=compare_top_jobs(completed[: MAX_PAIRS + 1]),
        against_time=build_time_chart(completed) if len(completed) > 1 else None,
        parallel=build_parallel_coordinates(
            [(select_options(status, changed_keys), status.val_accuracy or 0.0) for status in completed], changed_keys
        ),
    )


def load_importance(folder: Path) -> dict[str, float]:
    """Of the options of a search, the weightiest first; empty if there was none."""
    try:
        importances = json.loads((folder / "importance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(sorted(importances.items(), key=lambda item: -item[1]))


def parse_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """`optimizer.lr=0.1` and the like as a mapping."""
    return {key.lstrip("+"): value for key, _, value in (override.partition("=") for override in overrides)}


def select_options(status: Status, keys: Sequence[str]) -> dict[str, str]:
    """What a job has of each of these options."""
    return {key: parse_overrides(status.overrides).get(key, DEFAULT_LABEL) for key in keys}


def is_varied(key: str, options: Sequence[Mapping[str, str]]) -> bool:
    return len({option.get(key) for option in options}) > 1


def compare_top_jobs(completed: Sequence[Status]) -> list[dict[str, Any]]:
    """The best job against each other one, on the test images."""
    runs = []
    for status in completed:
        with suppress(OSError, KeyError):  # of a job that was tidied away
            runs.append(Run(status.run_dir.name, {}, answers_of(status.run_dir), {}))
    return compare_pairs(runs) if len(runs) > 1 else []


def build_time_chart(completed: Sequence[Status]) -> Content:
    """Accuracy on validation over the minutes that a job took, a dot a job."""
    points = [((status.seconds or 0.0) / 60, status.val_accuracy or 0.0) for status in completed]
    titles = [f"{status.run_dir.name}: {' '.join(status.overrides)}" for status in completed]
    dots = Line(name="jobs", css_class="dots", points=points, radii=[5.0] * len(points), tooltips=titles)
    x = build_axis("minutes", [0.0, *(minutes for minutes, _ in points)])
    return build_chart(
        [dots], x=x, y=build_axis("accuracy on validation", [value for _, value in points], as_percent=True)
    )
