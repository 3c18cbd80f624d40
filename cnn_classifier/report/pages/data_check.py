"""The page of `cnn-classifier data check`: what is in a data set, and what is wrong with it."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cnn_classifier.data.checks.suggestions import merge_duplicate_groups, pluralize
from cnn_classifier.report.pages.html import make_thumbnails, write_page

# These bounds keep the page below 5 MB.
MAX_SAMPLES = 240  # thumbnails of all classes together
MAX_GROUPS = 60  # groups of duplicates
MAX_COPIES = 120  # thumbnails of all groups together
MAX_COPIES_PER_GROUP = 4
TICK_SIZES = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]  # pixels, where a log axis is labelled

Summary = Mapping[str, Any]


def write_data_page(path: Path, summary: Summary, *, root: Path, samples: Mapping[str, Sequence[str]]) -> None:
    """Write one HTML file that needs neither network nor script.

    Args:
        path: The file; folders above it are created.
        summary: What `data check --json` prints.
        root: The folder that relative paths start from.
        samples: Some files of each class, to be shown.

    Raises:
        StorageError: If the file cannot be written.
    """
    groups = sort_by_severity(summary["duplicates"])[:MAX_GROUPS]
    copies_per_group = min(MAX_COPIES_PER_GROUP, MAX_COPIES // max(1, len(groups)))
    samples_per_class = max(1, MAX_SAMPLES // max(1, len(samples)))
    selected = {name: paths[:samples_per_class] for name, paths in list(samples.items())[:MAX_SAMPLES]}
    shown_paths = chain(*selected.values(), *(group["paths"][:copies_per_group] for group in groups))
    write_page(
        path,
        "data_page.html.j2",
        summary=summary,
        verdict=summarize_findings(summary),
        splits=summary["splits"] or {"images": summary["classes"]},
        ranked=sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        size_chart=build_size_chart(summary["shapes"]),
        samples=selected,
        groups=groups,
        copies=copies_per_group,
        thumbnails=make_thumbnails(shown_paths, root),
        heading="h2",
    )


def sort_by_severity(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Label conflicts, then pictures in two splits, then copies that do little harm."""
    return sorted(groups, key=lambda group: (len(group["classes"]) < 2, len(group["splits"]) < 2))


def summarize_findings(summary: Summary) -> list[tuple[str, str, str]]:
    """What is wrong, the worst first.

    Returns:
        For each finding what it says, the section that shows it, and how bad it is: `wrong`, `odd` or `fine`.
    """
    groups, num_unreadable = summary["duplicates"], len(summary["bad"])
    multi_split = [group["splits"] for group in groups if len(group["splits"]) > 1]
    leaking_splits = [split for split in summary["splits"] if any(split in splits for splits in multi_split)]
    location = " and ".join(leaking_splits) if len(leaking_splits) == 2 else "several splits"
    num_harmless = sum(
        len(group["classes"]) < 2 and len(group["splits"]) < 2 for group in merge_duplicate_groups(groups)
    )
    findings = [
        (num_unreadable, f"{num_unreadable:,} unreadable", "unreadable", "wrong"),
        (summary["conflicts"], pluralize(summary["conflicts"], "label conflict"), "duplicates", "wrong"),
        (summary["leaks"], f"{pluralize(summary['leaks'], 'picture')} in {location}", "duplicates", "wrong"),
        (summary["group_leaks"], f"{pluralize(summary['group_leaks'], 'group')} in several splits", "classes", "wrong"),
        (num_harmless, f"{pluralize(num_harmless, 'picture')} more than once", "duplicates", "odd"),
    ]
    reported = [(text, section, degree) for count, text, section, degree in findings if count]
    if any(degree == "wrong" for *_, degree in reported):
        return reported
    return [("Nothing wrong found", "classes", "fine"), *reported]


def build_size_chart(shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Circles and ticks of the size chart, whose axes are alike and logarithmic.

    Args:
        shapes: Width, height and number of images, the most frequent first.

    Returns:
        `ticks`: position and pixels; `circles`: x, y, radius, width, height and number of images. Positions and radii
        are percentages of the axis; areas grow with the share of the images. Empty where there are no shapes.
    """
    if not shapes:
        return {}
    sides = [side for width, height, _ in shapes for side in (width, height)]
    steps = TICK_SIZES[max(0, bisect_left(TICK_SIZES, min(sides)) - 1) : bisect_right(TICK_SIZES, max(sides)) + 1]
    span = math.log(steps[-1] / steps[0])

    def to_position(side: int) -> float:
        return round(100 * math.log(side / steps[0]) / span, 2)

    num_images = sum(count for *_, count in shapes)
    return {
        "ticks": [(to_position(step), step) for step in steps],
        "circles": [
            (
                to_position(width),
                to_position(height),
                round(0.7 + 4 * math.sqrt(count / num_images), 2),
                width,
                height,
                count,
            )
            for width, height, count in shapes
        ],
    }
