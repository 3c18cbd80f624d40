"""What to say of a set of images: advice after a check, and the lines that a training prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# A centre crop of an image this much longer than wide loses more than a quarter of it.
CROP_LOSES_A_QUARTER = 4 / 3
SMALL = 64  # pixels, the shorter side
SMALLEST_INPUT = 32  # pixels: the default networks halve an image four times
# One image for each of train, val and test.
FEWEST = 3


def too_small(summary: Mapping[str, Any], readable: Mapping[str, int]) -> list[str]:
    """The classes that cannot be split, where that is to be done."""
    names = [name for name in summary["classes"] if readable.get(name, 0) < FEWEST]
    if summary["splits"] or not names:
        return []
    return [f"classes with fewer than {FEWEST} images: {', '.join(names)}; add some"]


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
            f"near copies that are a large part of a class: {several(summary['scenes'], 'group')}, such as frames of a "
            "camera; split as different pictures: test on another scene, or tie them with dataset.group_pattern"
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
    if sizes and np.median([min(size) for size in sizes]) < SMALL:
        side = max(SMALLEST_INPUT, int(np.median([max(size) for size in sizes])))
        told.append(f"half of the images have no side over {side} pixels: dataset.image_size={side} shows all there is")
    if summary["bad"]:
        told.append(f"files that cannot be read: {len(summary['bad'])}; they are left out until they are mended")
    return told


def brief(summary: Mapping[str, Any]) -> list[str]:
    """The lines a training prints: only what is wrong."""
    lines = []
    if bad := summary["bad"]:
        such_as = f"{bad[0]['path']}: {bad[0]['reason']}"
        lines.append(f"left out {several(len(bad), 'unreadable image')} (all in report.json), such as {such_as}")
    copies = sum(len(group["paths"]) - 1 for group in summary["duplicates"] if group["kind"] == "exact")
    near = sum(len(group["paths"]) - 1 for group in distinct(summary["duplicates"])) - copies
    if copies or near:
        lines.append(f"found {copies} exact and {near} near copies")
    if summary["conflicts"]:
        lines.append(f"pictures in more than one class: {summary['conflicts']}")
    if summary["leaks"]:
        lines.append(f"pictures in more than one split folder: {summary['leaks']}; the test is easier than it looks")
    if summary["group_leaks"]:
        lines.append(
            f"groups in more than one split folder: {summary['group_leaks']}; the test is easier than it looks"
        )
    if summary["scenes"]:
        lines.append(
            f"near copies too many to keep together: {several(summary['scenes'], 'group')}, split as different pictures"
        )
    if summary["ignored"]:
        files = ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())
        lines.append(f"passed over files that are no images or in no class: {files}")
    return lines


def distinct(duplicates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One group a picture: exact copies within a group of near ones are told there."""
    within_near = {path for group in duplicates if group["kind"] == "near" for path in group["paths"]}
    return [group for group in duplicates if group["kind"] == "near" or group["paths"][0] not in within_near]


def several(count: int, noun: str) -> str:
    """`1 class`, `1,200 classes`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{ending}"
