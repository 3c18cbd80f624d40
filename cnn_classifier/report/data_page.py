"""The page of `cnn-classifier data check`: what is in a data set, and what is wrong with it."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from cnn_classifier.data.advice import distinct, several
from cnn_classifier.report.page import thumbnails, write_page

# These bounds keep the page below 5 MB.
MAX_SAMPLES = 240  # thumbnails of all classes together
MAX_GROUPS = 60  # groups of duplicates
MAX_COPIES = 120  # thumbnails of all groups together
MAX_COPIES_EACH = 4
ROUND_SIZES = [digit * 10**power for power in range(9) for digit in (1, 2, 5)]  # pixels, where a log axis is labelled

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
    groups = worst_first(summary["duplicates"])[:MAX_GROUPS]
    copies = min(MAX_COPIES_EACH, MAX_COPIES // max(1, len(groups)))
    samples_each = max(1, MAX_SAMPLES // max(1, len(samples)))
    chosen = {name: paths[:samples_each] for name, paths in list(samples.items())[:MAX_SAMPLES]}
    shown = chain(*chosen.values(), *(group["paths"][:copies] for group in groups))
    write_page(
        path,
        "data_page.html.j2",
        summary=summary,
        verdict=verdict(summary),
        splits=summary["splits"] or {"images": summary["classes"]},
        ranked=sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        size_chart=size_chart(summary["shapes"]),
        samples=chosen,
        groups=groups,
        copies=copies,
        thumbnails=thumbnails(shown, root),
        heading="h2",
    )


def worst_first(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Label conflicts, then pictures in two splits, then copies that do little harm."""
    return sorted(groups, key=lambda group: (len(group["classes"]) < 2, len(group["splits"]) < 2))


def verdict(summary: Summary) -> list[tuple[str, str, str]]:
    """What is wrong, the worst first.

    Returns:
        For each finding what it says, the section that shows it, and how bad it is: `wrong`, `odd` or `fine`.
    """
    groups, bad = summary["duplicates"], len(summary["bad"])
    spread = [group["splits"] for group in groups if len(group["splits"]) > 1]
    leaked = [split for split in summary["splits"] if any(split in splits for splits in spread)]
    where = " and ".join(leaked) if len(leaked) == 2 else "several splits"
    harmless = sum(len(group["classes"]) < 2 and len(group["splits"]) < 2 for group in distinct(groups))
    findings = [
        (bad, f"{bad:,} unreadable", "unreadable", "wrong"),
        (summary["conflicts"], several(summary["conflicts"], "label conflict"), "duplicates", "wrong"),
        (summary["leaks"], f"{several(summary['leaks'], 'picture')} in {where}", "duplicates", "wrong"),
        (summary["group_leaks"], f"{several(summary['group_leaks'], 'group')} in several splits", "classes", "wrong"),
        (harmless, f"{several(harmless, 'picture')} more than once", "duplicates", "odd"),
    ]
    told = [(text, section, degree) for count, text, section, degree in findings if count]
    if any(degree == "wrong" for *_, degree in told):
        return told
    return [("Nothing wrong found", "classes", "fine"), *told]


def size_chart(shapes: Sequence[Sequence[int]]) -> dict[str, Any]:
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
    steps = ROUND_SIZES[max(0, bisect_left(ROUND_SIZES, min(sides)) - 1) : bisect_right(ROUND_SIZES, max(sides)) + 1]
    span = math.log(steps[-1] / steps[0])

    def position(side: int) -> float:
        return round(100 * math.log(side / steps[0]) / span, 2)

    images = sum(count for *_, count in shapes)
    return {
        "ticks": [(position(step), step) for step in steps],
        "circles": [
            (position(width), position(height), round(0.7 + 4 * math.sqrt(count / images), 2), width, height, count)
            for width, height, count in shapes
        ],
    }
