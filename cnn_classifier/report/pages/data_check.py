"""The HTML page of `cnn-classifier data check`: statistics and problems of a dataset."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cnn_classifier.data.checks.suggestions import merge_duplicate_groups
from cnn_classifier.data.sources.class_names import pluralize
from cnn_classifier.report.pages.html import make_thumbnails, write_page

# These bounds keep the page below 5 MB.
MAX_SAMPLES = 240  # thumbnails of all classes
MAX_GROUPS = 60  # groups of duplicates
MAX_COPIES = 120  # thumbnails of all groups
MAX_COPIES_PER_GROUP = 4
TICK_SIZES = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]  # pixels, the tick values of a log axis

Summary = Mapping[str, Any]


def write_data_page(path: Path, summary: Summary, *, root: Path, samples: Mapping[str, Sequence[str]]) -> None:
    """Write the data check as a self-contained HTML file.

    Args:
        path: The output file; missing parent folders are created.
        summary: The summary that `data check --json` prints.
        root: The folder that relative paths start from.
        samples: The sample images of each class, as paths.

    Raises:
        StorageError: If the file cannot be written.
    """
    groups = sort_by_severity(summary["duplicates"])[:MAX_GROUPS]
    copies_per_group = min(MAX_COPIES_PER_GROUP, MAX_COPIES // max(1, len(groups)))
    samples_per_class = max(1, MAX_SAMPLES // max(1, len(samples)))
    selected_samples = {name: paths[:samples_per_class] for name, paths in list(samples.items())[:MAX_SAMPLES]}
    shown_paths = chain(*selected_samples.values(), *(group["paths"][:copies_per_group] for group in groups))
    write_page(
        path,
        "data_page.html.j2",
        summary=summary,
        findings=summarize_findings(summary),
        splits=summary["splits"] or {"images": summary["classes"]},
        class_names_by_size=sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        size_chart=build_size_chart(summary["shapes"]),
        samples=selected_samples,
        groups=groups,
        copies_per_group=copies_per_group,
        thumbnails=make_thumbnails(shown_paths, root, summary.get("value_range")),
        heading="h2",
    )


def sort_by_severity(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sort duplicate groups: label conflicts, then leaks between splits, then harmless duplicates."""
    return sorted(groups, key=lambda group: (len(group["classes"]) < 2, len(group["splits"]) < 2))


def summarize_findings(summary: Summary) -> list[tuple[str, str, str]]:
    """Return the problems of a dataset, most severe first.

    Returns:
        The text, the section of the page and the severity (`error`, `warning` or `ok`) of each finding.
    """
    groups, num_unreadable = summary["duplicates"], len(summary["unreadable"])
    multi_split = [group["splits"] for group in groups if len(group["splits"]) > 1]
    leaking_splits = [split for split in summary["splits"] if any(split in splits for splits in multi_split)]
    location = f"both {leaking_splits[0]} and {leaking_splits[1]}" if len(leaking_splits) == 2 else "several splits"
    num_harmless = sum(
        len(group["classes"]) < 2 and len(group["splits"]) < 2 for group in merge_duplicate_groups(groups)
    )
    num_mirrored = summary.get("mirrored_conflicts", 0)
    findings = [
        (num_unreadable, pluralize(num_unreadable, "unreadable file"), "unreadable", "error"),
        (summary["conflicts"], pluralize(summary["conflicts"], "label conflict"), "duplicates", "error"),
        (summary["leaks"], f"{pluralize(summary['leaks'], 'image')} in {location}", "duplicates", "error"),
        (summary["group_leaks"], f"{pluralize(summary['group_leaks'], 'group')} in several splits", "classes", "error"),
        (num_mirrored, pluralize(num_mirrored, "image") + " mirrored in another class", "duplicates", "warning"),
        (num_harmless, pluralize(num_harmless, "duplicated image"), "duplicates", "warning"),
    ]
    reported = [(text, section, severity) for count, text, section, severity in findings if count]
    if any(severity == "error" for *_, severity in reported):
        return reported
    return [("No errors found", "classes", "ok"), *reported]


def build_size_chart(shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the coordinates of the scatter plot of image sizes, with the same logarithmic scale on both axes.

    Args:
        shapes: The width, height and number of images of each size, most frequent first.

    Returns:
        `ticks` (position, pixels) and `circles` (x, y, radius, width, height, number of images). Positions and radii
        are percentages of the axis; areas grow with the number of images. An empty dict if there are no sizes.
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
