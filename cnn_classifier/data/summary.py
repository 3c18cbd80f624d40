"""What a check of the data found, as plain values for the table, the page and JSON."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.advice import distinct, suggestions, too_small
from cnn_classifier.data.audit import Audit
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.oddities import TREATMENTS
from cnn_classifier.data.options import SPLIT_NAMES
from cnn_classifier.data.split import scenes_of
from cnn_classifier.data.split_file import relative_name

Copies = Sequence[tuple[str, list[Path]]]
EXAMPLES = 5
SHAPES = 2000
UNASSIGNED = "to be split"


def summarise(scan: Scan, audit: Audit, copies: Copies) -> dict[str, Any]:
    """Everything that was found, in numbers, strings and lists; paths are below the scanned folder.

    Args:
        scan: The images.
        audit: What each holds.
        copies: Groups of files that show one picture.
    """
    split_of = {sample.path: sample.split for sample in scan.samples}
    classes_of: defaultdict[Path, list[str]] = defaultdict(list)
    for sample in scan.samples:
        classes_of[sample.path].append(scan.class_names[sample.label])
    duplicates = [
        {
            "kind": kind,
            "paths": [relative_name(path, scan) for path in files],
            "classes": sorted({name for path in files for name in classes_of[path]}),
            "splits": sorted({split_of[path] or "" for path in files} - {""}),
        }
        for kind, files in copies
    ]
    pictures = distinct(duplicates)
    classes = Counter(scan.class_names[sample.label] for sample in scan.samples)
    readable = Counter(scan.class_names[sample.label] for sample in scan.samples if not audit[sample.path].reason)
    sizes = [(audit[path].width, audit[path].height) for path in audit.digests if not audit[path].reason]
    summary = {
        "source": str(scan.root),
        "images": len(scan.samples),
        "classes": {name: classes[name] for name in scan.class_names},
        "splits": counts_by_split(scan),
        "imbalance": round(max(readable.values(), default=1) / max(1, min(readable[name] for name in classes)), 2),
        "bad": [{"path": relative_name(path, scan), "reason": reason} for path, reason in audit.bad.items()],
        "notes": noted(scan, audit),
        "duplicates": duplicates,
        "conflicts": sum(len(group["classes"]) > 1 for group in pictures),
        "leaks": sum(len(group["splits"]) > 1 for group in pictures),
        "group_leaks": group_leaks(scan),
        "scenes": len(scenes_of(copies, scan.samples)),
        "ignored": dict(scan.ignored.most_common()),
        **shapes_of(sizes),
    }
    return summary | {"suggestions": [*too_small(summary, readable), *suggestions(summary, sizes)]}


def group_leaks(scan: Scan) -> int:
    """How many groups, such as patients, have images in more than one split folder."""
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for sample in scan.samples:
        if sample.group is not None and sample.split:
            splits_of[sample.group].add(sample.split)
    return sum(len(splits) > 1 for splits in splits_of.values())


def counts_by_split(scan: Scan) -> dict[str, dict[str, int]]:
    """The images of each class in each given split, and of those in none; empty where no split is given."""
    counts = Counter((sample.split or UNASSIGNED, sample.label) for sample in scan.samples)
    splits = [split for split in (*SPLIT_NAMES, UNASSIGNED) if any(found == split for found, _ in counts)]
    if splits == [UNASSIGNED]:
        return {}
    return {split: {name: counts[split, label] for label, name in enumerate(scan.class_names)} for split in splits}


def noted(scan: Scan, audit: Audit) -> dict[str, dict[str, Any]]:
    """The odd files that are used all the same, by what is odd and how it is treated."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in audit.digests:
        for note in audit.notes(path):
            found[note].append(path)
    return {
        note: {
            "count": len(paths),
            "treatment": TREATMENTS[note],
            "examples": [relative_name(path, scan) for path in paths[:EXAMPLES]],
        }
        for note, paths in sorted(found.items(), key=lambda item: -len(item[1]))
    }


def shapes_of(sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
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
        "shapes": [[*size, count] for size, count in Counter(sizes).most_common(SHAPES)],
        "aspect_ratios": {"edges": edges.round(3).tolist(), "counts": counts.tolist()},
    }
