"""The page of a sweep: its jobs ranked, what their seeds tell, and how options and accuracy go together."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cnn_classifier.report.charts import Content, Line, axis, chart
from cnn_classifier.report.comparison import Run, tested_pairs
from cnn_classifier.report.comparison import read_answers as answers_of
from cnn_classifier.report.page import write_page
from cnn_classifier.report.parallel import parallel
from cnn_classifier.report.seeds import grouped
from cnn_classifier.status import DONE, Status

REFRESH = 5  # seconds, as long as a sweep runs
MOST_PAIRS = 10
DEFAULT = "default"  # of an option that other jobs change


def write_leaderboard_page(path: Path, statuses: Sequence[Status], *, refresh: bool) -> None:
    """Write one HTML file that needs neither network nor script.

    Args:
        path: The file, in the sweep's folder, so that it links to the jobs' reports.
        statuses: Of the jobs, ranked.
        refresh: Whether the browser looks again by itself.

    Raises:
        StorageError: If the file cannot be written.
    """
    done = [status for status in statuses if status.state == DONE and status.val_accuracy is not None]
    words = [settings(status.words) for status in statuses]
    changed = [key for key in dict.fromkeys(key for option in words for key in option) if differs(key, words)]
    groups = grouped([(status.words, status.val_accuracy or 0.0) for status in done])
    write_page(
        path,
        "leaderboard.html.j2",
        statuses=statuses,
        counts={state: sum(s.state == state for s in statuses) for state in dict.fromkeys(s.state for s in statuses)},
        refresh=REFRESH if refresh else None,
        changed=changed,
        options=[chosen(status, changed) for status in statuses],
        reports=[f"{s.run_dir.name}/report.html" if (s.run_dir / "report.html").is_file() else None for s in statuses],
        common=set.intersection(*(set(group.words) for group in groups)) if groups else set(),
        groups=groups if any(len(group.values) > 1 for group in groups) else [],
        importance=importance(path.parent),
        pairs=pairs(done[: MOST_PAIRS + 1]),
        against_time=against_time(done) if len(done) > 1 else None,
        parallel=parallel([(chosen(status, changed), status.val_accuracy or 0.0) for status in done], changed),
    )


def importance(folder: Path) -> dict[str, float]:
    """Of the options of a search, the weightiest first; empty if there was none."""
    try:
        found = json.loads((folder / "importance.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def settings(words: Sequence[str]) -> dict[str, str]:
    """`optimizer.lr=0.1` and the like as a mapping."""
    return {key.lstrip("+"): value for key, _, value in (word.partition("=") for word in words)}


def chosen(status: Status, keys: Sequence[str]) -> dict[str, str]:
    """What a job has of each of these options."""
    return {key: settings(status.words).get(key, DEFAULT) for key in keys}


def differs(key: str, options: Sequence[Mapping[str, str]]) -> bool:
    return len({option.get(key) for option in options}) > 1


def pairs(done: Sequence[Status]) -> list[dict[str, Any]]:
    """The best job against each other one, on the test images."""
    runs = []
    for status in done:
        with suppress(OSError, KeyError):  # of a job that was tidied away
            runs.append(Run(status.run_dir.name, {}, answers_of(status.run_dir), {}))
    return tested_pairs(runs) if len(runs) > 1 else []


def against_time(done: Sequence[Status]) -> Content:
    """Accuracy on validation over the minutes that a job took, a dot a job."""
    points = [((status.seconds or 0.0) / 60, status.val_accuracy or 0.0) for status in done]
    titles = [f"{status.run_dir.name}: {' '.join(status.words)}" for status in done]
    dots = Line(name="jobs", kind="dots", points=points, sizes=[5.0] * len(points), titles=titles)
    x = axis("minutes", [0.0, *(minutes for minutes, _ in points)])
    return chart([dots], x=x, y=axis("accuracy on validation", [value for _, value in points], share=True))
