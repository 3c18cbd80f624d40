"""What a check of the data found, as plain values for the table, the page and JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.checks.check import CheckResult
from cnn_classifier.data.checks.image_info import WARNINGS
from cnn_classifier.data.checks.suggestions import merge_duplicate_groups, small_class_warnings, suggest_fixes
from cnn_classifier.data.config import SPLIT_NAMES
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.groups import oversized_groups
from cnn_classifier.data.splits.split_csv import relative_name

DuplicateGroups = Sequence[tuple[str, list[Path]]]
MAX_EXAMPLES = 5
MAX_SHAPES = 2000
UNASSIGNED = "to be split"


def summarize(scan: DatasetIndex, check_result: CheckResult, duplicate_groups: DuplicateGroups) -> dict[str, Any]:
    """Everything that was found, in numbers, strings and lists; paths are below the scanned folder.

    Args:
        scan: The images.
        audit: What each holds.
        copies: Groups of files that show one picture.
    """
    split_by_path = {sample.path: sample.split for sample in scan.samples}
    classes_by_path: defaultdict[Path, list[str]] = defaultdict(list)
    for sample in scan.samples:
        classes_by_path[sample.path].append(scan.class_names[sample.label])
    duplicates = [
        {
            "kind": kind,
            "paths": [relative_name(path, scan) for path in files],
            "classes": sorted({name for path in files for name in classes_by_path[path]}),
            "splits": sorted({split_by_path[path] or "" for path in files} - {""}),
        }
        for kind, files in duplicate_groups
    ]
    distinct_groups = merge_duplicate_groups(duplicates)
    class_counts = Counter(scan.class_names[sample.label] for sample in scan.samples)
    readable_counts = Counter(
        scan.class_names[sample.label] for sample in scan.samples if not check_result[sample.path].decode_error
    )
    sizes = [
        (check_result[path].width, check_result[path].height)
        for path in check_result.digests
        if not check_result[path].decode_error
    ]
    summary = {
        "source": str(scan.root),
        "images": len(scan.samples),
        "classes": {name: class_counts[name] for name in scan.class_names},
        "splits": count_by_split(scan),
        "imbalance": round(
            max(readable_counts.values(), default=1) / max(1, min(readable_counts[name] for name in class_counts)), 2
        ),
        "bad": [
            {"path": relative_name(path, scan), "reason": reason} for path, reason in check_result.unreadable.items()
        ],
        "notes": collect_warnings(scan, check_result),
        "duplicates": duplicates,
        "conflicts": sum(len(group["classes"]) > 1 for group in distinct_groups),
        "leaks": sum(len(group["splits"]) > 1 for group in distinct_groups),
        "group_leaks": count_group_leaks(scan),
        "scenes": len(oversized_groups(duplicate_groups, scan.samples)),
        "ignored": dict(scan.ignored.most_common()),
        **describe_sizes(sizes),
    }
    return summary | {"suggestions": [*small_class_warnings(summary, readable_counts), *suggest_fixes(summary, sizes)]}


def count_group_leaks(scan: DatasetIndex) -> int:
    """How many groups, such as patients, have images in more than one split folder."""
    splits_by_group: defaultdict[str, set[str]] = defaultdict(set)
    for sample in scan.samples:
        if sample.group is not None and sample.split:
            splits_by_group[sample.group].add(sample.split)
    return sum(len(splits) > 1 for splits in splits_by_group.values())


def count_by_split(scan: DatasetIndex) -> dict[str, dict[str, int]]:
    """The images of each class in each given split, and of those in none; empty where no split is given."""
    counts = Counter((sample.split or UNASSIGNED, sample.label) for sample in scan.samples)
    splits = [split for split in (*SPLIT_NAMES, UNASSIGNED) if any(sample_split == split for sample_split, _ in counts)]
    if splits == [UNASSIGNED]:
        return {}
    return {split: {name: counts[split, label] for label, name in enumerate(scan.class_names)} for split in splits}


def collect_warnings(scan: DatasetIndex, check_result: CheckResult) -> dict[str, dict[str, Any]]:
    """The odd files that are used all the same, by what is odd and how it is treated."""
    paths_by_warning: defaultdict[str, list[Path]] = defaultdict(list)
    for path in check_result.digests:
        for warning in check_result.get_warnings(path):
            paths_by_warning[warning].append(path)
    return {
        warning: {
            "count": len(paths),
            "treatment": WARNINGS[warning],
            "examples": [relative_name(path, scan) for path in paths[:MAX_EXAMPLES]],
        }
        for warning, paths in sorted(paths_by_warning.items(), key=lambda item: -len(item[1]))
    }


def describe_sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """The spread of widths, heights and aspect ratios (width / height)."""
    if not sizes:
        return {"sizes": {}, "shapes": [], "aspect_ratios": {"edges": [], "counts": []}}
    widths, heights = np.array(sizes).T
    edges = np.geomspace(0.25, 4, 25)
    counts, _ = np.histogram((widths / heights).clip(0.25, 4), edges)
    spread = {
        name: {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}
        for name, values in (("width", widths), ("height", heights))
    }
    return {
        "sizes": spread,
        "shapes": [[*size, count] for size, count in Counter(sizes).most_common(MAX_SHAPES)],
        "aspect_ratios": {"edges": edges.round(3).tolist(), "counts": counts.tolist()},
    }
