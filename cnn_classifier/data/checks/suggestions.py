"""Messages about a dataset: the suggestions of `data check` and the warnings printed before training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnn_classifier.data.sources.class_names import abbreviate, pluralize

# Above this aspect ratio, a center crop removes more than a quarter of the area.
MAX_CROP_ASPECT_RATIO = 4 / 3
SMALL_IMAGE_SIZE = 64  # pixels, the shorter side
MIN_INPUT_SIZE = 32  # pixels; the default models downsample four times
MIN_IMAGES_PER_CLASS = 3  # one each for train, val and test
# Fewer mirror images in another class, or a smaller fraction of the images, can be wrong labels.
MIN_MIRRORED_GROUPS, MIN_MIRRORED_FRACTION = 3, 0.01
LEAK_CONSEQUENCE = "They make the test metrics too optimistic."


def describe_small_classes(summary: Mapping[str, Any], readable: Mapping[str, int]) -> list[str]:
    """Return a message that names the classes that lack images in a split folder, or have too few for a split.

    Args:
        summary: The summary of the dataset, as returned by `summarize`.
        readable: The number of readable images of each class.
    """
    if summary["splits"]:
        absent = {name: [split for split, counts in summary["splits"].items() if not counts[name]] for name in readable}
        names = [f"{name} ({', '.join(splits)})" for name, splits in absent.items() if splits]
        return [f"Classes without images in a split folder: {abbreviate(names)}."] if names else []
    names = [name for name in summary["classes"] if readable.get(name, 0) < MIN_IMAGES_PER_CLASS]
    rule = "One image is used for training only, two for training and testing. Add images."
    return [f"Classes with fewer than {MIN_IMAGES_PER_CLASS} images: {abbreviate(names)}. {rule}"] if names else []


def suggest_fixes(summary: Mapping[str, Any], sizes: Sequence[tuple[int, int]]) -> list[str]:
    """Return a suggestion for each problem of a dataset, with the option that addresses it.

    Args:
        summary: The summary of the dataset, as returned by `summarize`.
        sizes: The width and height of each readable image, in pixels.
    """
    messages = []
    if summary["leaks"]:
        messages.append(
            f"Images in more than one split: {summary['leaks']}. {LEAK_CONSEQUENCE} Remove the duplicates, "
            "or put all images into root/class folders so that the split is created automatically."
        )
    if summary["group_leaks"]:
        messages.append(f"Groups in more than one split: {summary['group_leaks']}. Move each group into one split.")
    if summary["oversized_groups"]:
        messages.append(
            "Near-duplicates that make up a large part of a class, such as the frames of a video: "
            f"{pluralize(summary['oversized_groups'], 'group')}. They are split as different images. "
            "Test on images from another recording, or keep them in one split with dataset.group_pattern."
        )
    if summary["conflicts"]:
        messages.append(
            f"Images in more than one class: {summary['conflicts']}. Keep only the correctly labeled file of each."
        )
    if message := describe_mirrored_classes(summary):
        messages.append(message)
    if summary["imbalance"] > 1.5:
        messages.append(
            f"The largest class has {summary['imbalance']:g} times as many images as the smallest. "
            "Use loss.class_weights=balanced or dataset.sampler=balanced."
        )
    long_fraction = sum(max(size) > MAX_CROP_ASPECT_RATIO * min(size) for size in sizes) / max(1, len(sizes))
    if long_fraction > 0.25:
        messages.append(
            f"One side of {long_fraction:.0%} of the images is over {MAX_CROP_ASPECT_RATIO:.2f} times the other. "
            "dataset.resize=pad keeps their shapes; stretch, the default, does not, and crop removes parts of them."
        )
    if sizes and np.median([min(size) for size in sizes]) < SMALL_IMAGE_SIZE:
        image_size = max(MIN_INPUT_SIZE, int(np.median([max(size) for size in sizes])))
        messages.append(
            f"Half of the images have no side longer than {image_size} pixels. "
            f"dataset.image_size={image_size} keeps all their detail."
        )
    if summary["unreadable"]:
        messages.append(f"Unreadable files: {len(summary['unreadable'])}. They are skipped. Repair or remove them.")
    return messages


def has_mirrored_classes(summary: Mapping[str, Any]) -> bool:
    """Return whether enough images have their mirror image in another class to conclude that flips change the class."""
    count = summary.get("mirrored_conflicts", 0)
    return bool(count >= MIN_MIRRORED_GROUPS and count >= MIN_MIRRORED_FRACTION * summary["images"])


def describe_mirrored_classes(summary: Mapping[str, Any]) -> str:
    """Return a message about images whose mirror image is in another class; empty if there are none or too few."""
    count = summary.get("mirrored_conflicts", 0)
    if not count:
        return ""
    message = f"Mirrored classes: {pluralize(count, 'image')} with a mirror image in another class."
    if has_mirrored_classes(summary):
        return f"{message} Flips will be off with augment=auto; with another augmentation, set augment.flip.p=0."
    return f"{message} Check whether left and right are the classes or the labels are wrong."


def training_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Return the problems of a dataset, to be printed before training.

    Args:
        summary: The summary of the dataset, as returned by `summarize`.
    """
    messages = list(summary["notes"])
    if unreadable := summary["unreadable"]:
        example = f"{unreadable[0]['path']}: {unreadable[0]['reason']}"
        messages.append(
            f"Skipped {pluralize(len(unreadable), 'unreadable image')} (all listed in report.json), such as {example}"
        )
    num_exact = sum(len(group["paths"]) - 1 for group in summary["duplicates"] if group["kind"] == "exact")
    num_near = sum(len(group["paths"]) - 1 for group in merge_duplicate_groups(summary["duplicates"])) - num_exact
    if num_exact or num_near:
        messages.append(f"Found {pluralize(num_exact, 'exact duplicate')} and {pluralize(num_near, 'near-duplicate')}.")
    if summary["conflicts"]:
        messages.append(f"Images in more than one class: {summary['conflicts']}.")
    if message := describe_mirrored_classes(summary):
        messages.append(message)
    if summary["leaks"]:
        messages.append(f"Images in more than one split folder: {summary['leaks']}. {LEAK_CONSEQUENCE}")
    if summary["group_leaks"]:
        messages.append(f"Groups in more than one split folder: {summary['group_leaks']}. {LEAK_CONSEQUENCE}")
    if summary["oversized_groups"]:
        messages.append(
            "Near-duplicate groups too large to keep in one split: "
            f"{summary['oversized_groups']:,}. They are split as different images."
        )
    if summary["ignored"]:
        files = ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())
        messages.append(f"Ignored files that are not images or not in a class folder: {files}.")
    return messages


def merge_duplicate_groups(duplicates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one group per image: without the exact duplicate groups that are part of a near-duplicate group."""
    near_paths = {path for group in duplicates if group["kind"] == "near" for path in group["paths"]}
    return [group for group in duplicates if group["kind"] == "near" or group["paths"][0] not in near_paths]
