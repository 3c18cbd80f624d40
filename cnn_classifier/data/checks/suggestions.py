"""What to say of a set of images: advice after a check, and the lines that a training prints."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# A centre crop of an image this much longer than wide loses more than a quarter of it.
MAX_CROP_ASPECT_RATIO = 4 / 3
SMALL_IMAGE_SIZE = 64  # pixels, the shorter side
MIN_INPUT_SIZE = 32  # pixels: the default networks halve an image four times
# One image for each of train, val and test.
MIN_IMAGES_PER_CLASS = 3


def small_class_warnings(summary: Mapping[str, Any], readable: Mapping[str, int]) -> list[str]:
    """The classes that cannot be split, where that is to be done."""
    class_names = [name for name in summary["classes"] if readable.get(name, 0) < MIN_IMAGES_PER_CLASS]
    if summary["splits"] or not class_names:
        return []
    return [f"classes with fewer than {MIN_IMAGES_PER_CLASS} images: {', '.join(class_names)}; add some"]


def suggest_fixes(summary: Mapping[str, Any], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """What a careful person would do about it, with the option that does it."""
    messages = []
    if summary["leaks"]:
        messages.append(
            f"pictures in more than one split: {summary['leaks']}; the test is easier than it looks: "
            "remove the copies, or put all images into root/class folders and let the split be made"
        )
    if summary["group_leaks"]:
        messages.append(f"groups in more than one split: {summary['group_leaks']}; keep each on one side")
    if summary["scenes"]:
        messages.append(
            f"near copies that are a large part of a class: {pluralize(summary['scenes'], 'group')}, such as frames of a "
            "camera; split as different pictures: test on another scene, or tie them with dataset.group_pattern"
        )
    if summary["conflicts"]:
        messages.append(f"pictures in more than one class: {summary['conflicts']}; keep the right copy of each")
    if summary["imbalance"] > 1.5:
        messages.append(
            f"the largest class is {summary['imbalance']:g} times the smallest: "
            "use loss.class_weights=balanced or dataset.sampler=balanced"
        )
    long_fraction = sum(max(size) > MAX_CROP_ASPECT_RATIO * min(size) for size in sizes) / max(1, len(sizes))
    if long_fraction > 0.25:
        messages.append(
            f"{long_fraction:.0%} of images would lose more than a quarter to a centre crop: use dataset.resize=pad or stretch"
        )
    if sizes and np.median([min(size) for size in sizes]) < SMALL_IMAGE_SIZE:
        image_size = max(MIN_INPUT_SIZE, int(np.median([max(size) for size in sizes])))
        messages.append(
            f"half of the images have no side over {image_size} pixels: dataset.image_size={image_size} shows all there is"
        )
    if summary["bad"]:
        messages.append(f"files that cannot be read: {len(summary['bad'])}; they are left out until they are mended")
    return messages


def training_warnings(summary: Mapping[str, Any]) -> list[str]:
    """The lines a training prints: only what is wrong."""
    messages = []
    if unreadable := summary["bad"]:
        example = f"{unreadable[0]['path']}: {unreadable[0]['reason']}"
        messages.append(
            f"left out {pluralize(len(unreadable), 'unreadable image')} (all in report.json), such as {example}"
        )
    num_exact = sum(len(group["paths"]) - 1 for group in summary["duplicates"] if group["kind"] == "exact")
    num_near = sum(len(group["paths"]) - 1 for group in merge_duplicate_groups(summary["duplicates"])) - num_exact
    if num_exact or num_near:
        messages.append(f"found {num_exact} exact and {num_near} near copies")
    if summary["conflicts"]:
        messages.append(f"pictures in more than one class: {summary['conflicts']}")
    if summary["leaks"]:
        messages.append(f"pictures in more than one split folder: {summary['leaks']}; the test is easier than it looks")
    if summary["group_leaks"]:
        messages.append(
            f"groups in more than one split folder: {summary['group_leaks']}; the test is easier than it looks"
        )
    if summary["scenes"]:
        messages.append(
            f"near copies too many to keep together: {pluralize(summary['scenes'], 'group')}, split as different pictures"
        )
    if summary["ignored"]:
        files = ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())
        messages.append(f"passed over files that are no images or in no class: {files}")
    return messages


def merge_duplicate_groups(duplicates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One group a picture: exact copies within a group of near ones are told there."""
    near_paths = {path for group in duplicates if group["kind"] == "near" for path in group["paths"]}
    return [group for group in duplicates if group["kind"] == "near" or group["paths"][0] not in near_paths]


def pluralize(count: int, noun: str) -> str:
    """`1 class`, `1,200 classes`."""
    suffix = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{suffix}"
