"""Summary of a dataset check as plain values, for the terminal table, the HTML page and JSON."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.checks.check import CheckResult
from cnn_classifier.data.checks.image_info import WARNINGS
from cnn_classifier.data.checks.near_duplicates import THUMBNAIL_SIZE, flip, is_similar
from cnn_classifier.data.checks.suggestions import describe_small_classes, merge_duplicate_groups, suggest_fixes
from cnn_classifier.data.checks.value_range import describe_value_range
from cnn_classifier.data.config import SPLIT_NAMES
from cnn_classifier.data.images.wide import ValueRange
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.groups import oversized_groups
from cnn_classifier.data.splits.split_csv import relative_name

DuplicateGroups = Sequence[tuple[str, list[Path]]]
MAX_EXAMPLES = 5
MAX_SHAPES = 2000
MAX_COMPARED_FILES = 50  # in a group; larger ones are frames of a video
THUMBNAIL_SHAPE = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
UNASSIGNED = "unassigned"


def summarize(
    index: DatasetIndex,
    check_result: CheckResult,
    duplicate_groups: DuplicateGroups,
    *,
    value_range: ValueRange | None = None,
) -> dict[str, Any]:
    """Summarize a dataset check in JSON-serializable values; paths are relative to the dataset folder.

    Args:
        index: The dataset.
        check_result: The result of `inspect_files` for all samples.
        duplicate_groups: The duplicate groups of `find_duplicates`.
        value_range: The range of values of images with more than 8 bits; that of all images if not given.

    Returns:
        The counts by class and split, unreadable files, warnings, duplicates, leaks, image sizes and suggestions.
    """
    value_range = value_range or check_result.measure_value_range()
    duplicates = describe_duplicates(index, check_result, duplicate_groups)
    distinct_groups = merge_duplicate_groups(duplicates)
    class_counts = Counter(index.class_names[sample.label] for sample in index.samples)
    readable = (sample for sample in index.samples if not check_result[sample.path].decode_error)
    readable_counts = Counter(index.class_names[sample.label] for sample in readable)
    summary = {
        "source": str(index.root),
        "images": len(index.samples),
        "classes": {name: class_counts[name] for name in index.class_names},
        "splits": count_by_split(index),
        "imbalance": round(
            max(readable_counts.values(), default=1) / max(1, min(readable_counts[name] for name in class_counts)), 2
        ),
        "unreadable": [
            {"path": relative_name(path, index), "reason": reason} for path, reason in check_result.unreadable.items()
        ],
        "warnings": collect_warnings(index, check_result),
        "duplicates": duplicates,
        "conflicts": sum(len(group["classes"]) > 1 and "is_mirrored" not in group for group in distinct_groups),
        "mirrored_conflicts": sum("is_mirrored" in group for group in distinct_groups),
        "leaks": sum(len(group["splits"]) > 1 for group in distinct_groups),
        "group_leaks": count_group_leaks(index),
        "value_range": value_range,
        "notes": [*index.notes, *describe_value_range(check_result.get_value_limits(), value_range)],
        "oversized_groups": len(oversized_groups(duplicate_groups, index.samples)),
        "ignored": dict(index.ignored.most_common()),
        **describe_sizes(check_result.sizes),
    }
    return summary | {
        "suggestions": [*describe_small_classes(summary, readable_counts), *suggest_fixes(summary, check_result.sizes)]
    }


def describe_duplicates(
    index: DatasetIndex, check_result: CheckResult, duplicate_groups: DuplicateGroups
) -> list[dict[str, Any]]:
    """Describe each group of duplicates, and mark those whose classes are mirror images."""
    split_by_path = {sample.path: sample.split for sample in index.samples}
    classes_by_path: defaultdict[Path, list[str]] = defaultdict(list)
    for sample in index.samples:
        classes_by_path[sample.path].append(index.class_names[sample.label])
    return [
        {
            "kind": kind,
            "paths": [relative_name(path, index) for path in files],
            "classes": sorted({name for path in files for name in classes_by_path[path]}),
            "splits": sorted({split_by_path[path] or "" for path in files} - {""}),
            **({"is_mirrored": True} if are_classes_mirrored(check_result, classes_by_path, files) else {}),
        }
        for kind, files in duplicate_groups
    ]


def are_classes_mirrored(
    check_result: CheckResult, classes_by_path: Mapping[Path, Sequence[str]], files: Sequence[Path]
) -> bool:
    """Return whether the near-duplicates in different classes are mirror images of each other, and no copies."""
    has_classes = len({tuple(classes_by_path[path]) for path in files}) > 1
    if not has_classes or len(files) > MAX_COMPARED_FILES or not all(check_result[path].thumbnail for path in files):
        return False
    thumbnails = [np.frombuffer(check_result[path].thumbnail, np.uint8).reshape(1, *THUMBNAIL_SHAPE) for path in files]
    pairs = [
        (thumbnails[i], thumbnails[j])
        for i, j in combinations(range(len(files)), 2)
        if classes_by_path[files[i]] != classes_by_path[files[j]]
    ]
    has_copies = any(is_similar(first, second)[0] for first, second in pairs)
    return not has_copies and any(is_similar(first, flip(second))[0] for first, second in pairs)


def count_group_leaks(index: DatasetIndex) -> int:
    """Count the groups, such as patients, that have images in more than one split folder."""
    splits_by_group: defaultdict[str, set[str]] = defaultdict(set)
    for sample in index.samples:
        if sample.group is not None and sample.split:
            splits_by_group[sample.group].add(sample.split)
    return sum(len(splits) > 1 for splits in splits_by_group.values())


def count_by_split(index: DatasetIndex) -> dict[str, dict[str, int]]:
    """Count the images by split folder and class; images outside the split folders are `unassigned`.

    Returns:
        The counts, or an empty dict if the dataset has no split folders.
    """
    counts = Counter((sample.split or UNASSIGNED, sample.label) for sample in index.samples)
    splits = [split for split in (*SPLIT_NAMES, UNASSIGNED) if any(sample_split == split for sample_split, _ in counts)]
    if splits == [UNASSIGNED]:
        return {}
    return {split: {name: counts[split, label] for label, name in enumerate(index.class_names)} for split in splits}


def collect_warnings(index: DatasetIndex, check_result: CheckResult) -> dict[str, dict[str, Any]]:
    """Collect the warnings with the number of files, the treatment and examples, the most frequent first."""
    paths_by_warning: defaultdict[str, list[Path]] = defaultdict(list)
    for path in check_result.digests:
        for warning in check_result.get_warnings(path):
            paths_by_warning[warning].append(path)
    return {
        warning: {
            "count": len(paths),
            "treatment": WARNINGS[warning],
            "examples": [relative_name(path, index) for path in paths[:MAX_EXAMPLES]],
        }
        for warning, paths in sorted(paths_by_warning.items(), key=lambda item: -len(item[1]))
    }


def describe_sizes(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Compute the range and median of widths and heights, the size counts, and a histogram of aspect ratios.

    Args:
        sizes: The width and height of each image, in pixels.

    Returns:
        `sizes`: minimum, median and maximum by side; `shapes`: the most frequent sizes as [width, height, count];
        `aspect_ratios`: the bin edges and counts of width / height.
    """
    if not sizes:
        return {"sizes": {}, "shapes": [], "aspect_ratios": {"edges": [], "counts": []}}
    widths, heights = np.array(sizes).T
    edges = np.geomspace(0.25, 4, 25)
    counts, _ = np.histogram((widths / heights).clip(0.25, 4), edges)
    ranges = {
        name: {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}
        for name, values in (("width", widths), ("height", heights))
    }
    return {
        "sizes": ranges,
        "shapes": [[*size, count] for size, count in Counter(sizes).most_common(MAX_SHAPES)],
        "aspect_ratios": {"edges": edges.round(3).tolist(), "counts": counts.tolist()},
    }
