"""What a check of the data found, as plain values for the table, the page and JSON."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_classifier.data.audit import Audit
from cnn_classifier.data.folder import Scan
from cnn_classifier.data.oddities import TREATMENTS
from cnn_classifier.data.split import scenes_of
from cnn_classifier.data.split_file import relative_name

Copies = Sequence[tuple[str, list[Path]]]
# A centre crop of an image this much longer than wide loses more than a quarter of it.
CROP_LOSES_A_QUARTER = 4 / 3
EXAMPLES = 5
SHAPES = 2000


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
    sizes = [(audit[path].width, audit[path].height) for path in audit.digests if not audit[path].reason]
    summary = {
        "source": str(scan.root),
        "images": len(scan.samples),
        "classes": {name: classes[name] for name in scan.class_names},
        "splits": counts_by_split(scan),
        "imbalance": round(max(classes.values()) / min(classes.values()), 2),
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
    return summary | {"suggestions": suggestions(summary, sizes)}


def distinct(duplicates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One group a picture: exact copies within a group of near ones are told there."""
    within_near = {path for group in duplicates if group["kind"] == "near" for path in group["paths"]}
    return [group for group in duplicates if group["kind"] == "near" or group["paths"][0] not in within_near]


def group_leaks(scan: Scan) -> int:
    """How many groups, such as patients, have images in more than one split folder."""
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for sample in scan.samples:
        if sample.group is not None and sample.split:
            splits_of[sample.group].add(sample.split)
    return sum(len(splits) > 1 for splits in splits_of.values())


def counts_by_split(scan: Scan) -> dict[str, dict[str, int]]:
    """The images of each class in each split folder; empty where there are none."""
    counts = Counter((sample.split, sample.label) for sample in scan.samples if sample.split)
    splits = [split for split in ("train", "val", "test") if any(found == split for found, _ in counts)]
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


def suggestions(summary: Mapping[str, Any], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """What a careful person would do about it, with the option that does it."""
    told = []
    if summary["leaks"]:
        told.append(
            f"pictures in more than one split: {summary['leaks']}; the test is easier than it looks: "
            "remove the copies, or put all images into root/class folders and let the split be made"
        )
    if summary["group_leaks"]:
        told.append(f"groups in more than one split: {summary['group_leaks']}; keep each on one side")
    if summary["scenes"]:
        told.append(
            f"near copies that are a large part of a class: {summary['scenes']} groups, such as frames of one camera; "
            "they are split as different pictures: test on another scene, or tie them with dataset.group_pattern"
        )
    if summary["conflicts"]:
        told.append(f"pictures in more than one class: {summary['conflicts']}; keep the right copy of each")
    if summary["imbalance"] > 1.5:
        told.append(
            f"the largest class is {summary['imbalance']:g} times the smallest: "
            "use loss.class_weights=balanced or dataset.sampler=balanced"
        )
    long = sum(max(size) > CROP_LOSES_A_QUARTER * min(size) for size in sizes) / max(1, len(sizes))
    if long > 0.25:
        told.append(
            f"{long:.0%} of images would lose more than a quarter to a centre crop: use dataset.resize=pad or squash"
        )
    if sizes and np.median([min(size) for size in sizes]) < 64:
        side = int(np.median([max(size) for size in sizes]))
        told.append(f"half of the images are at most {side} pixels long: dataset.image_size={side} shows all there is")
    if summary["bad"]:
        told.append(f"files that cannot be read: {len(summary['bad'])}; they are left out until they are mended")
    return told


def brief(summary: Mapping[str, Any]) -> list[str]:
    """The lines a training prints: only what is wrong."""
    lines = []
    if bad := summary["bad"]:
        lines.append(
            f"left out {len(bad)} unreadable images (all in report.json), such as {bad[0]['path']}: {bad[0]['reason']}"
        )
    copies = sum(len(group["paths"]) - 1 for group in summary["duplicates"] if group["kind"] == "exact")
    near = sum(len(group["paths"]) - 1 for group in distinct(summary["duplicates"])) - copies
    if copies or near:
        lines.append(f"found {copies} exact and {near} near copies; a split made here keeps copies on one side")
    if summary["conflicts"]:
        lines.append(f"pictures in more than one class: {summary['conflicts']}")
    if summary["leaks"]:
        lines.append(f"pictures in more than one split folder: {summary['leaks']}; the test is easier than it looks")
    if summary["group_leaks"]:
        lines.append(
            f"groups in more than one split folder: {summary['group_leaks']}; the test is easier than it looks"
        )
    if summary["scenes"]:
        lines.append(f"near copies too many to keep together: {summary['scenes']} groups, split as different pictures")
    if summary["ignored"]:
        files = ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())
        lines.append(f"passed over files that are no images or in no class: {files}")
    return lines
