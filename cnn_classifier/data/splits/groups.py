"""Give the classes of a scan other names, and its images their groups."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.errors import ConfigError

# Above this share of a class, near copies are a scene.
MAX_GROUP_FRACTION = 0.25


def assign_groups(scan: DatasetIndex, pattern: str | None) -> DatasetIndex:
    """The same images, each in the group that its path names.

    Args:
        scan: What was found.
        pattern: A regular expression, searched for in the path below `scan.root` with forward slashes. Its first
            group, or all that it matches if it has none, names the image's group; without a match there is none.

    Raises:
        ConfigError: If it is no regular expression, or names no group at all.
    """
    if pattern is None:
        return scan
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"dataset.group_pattern={pattern} is no regular expression: {error}") from error
    root_prefix = f"{scan.root.absolute().as_posix()}/"

    def find_group(path: Path) -> str | None:
        match = expression.search(path.absolute().as_posix().removeprefix(root_prefix))
        return match[min(1, expression.groups)] if match else None

    samples = [replace(sample, group=find_group(sample.path)) for sample in scan.samples]
    if not any(sample.group for sample in samples):
        example = samples[0].path.absolute().as_posix().removeprefix(root_prefix)
        raise ConfigError(f"dataset.group_pattern={pattern} names no group in any path, such as {example}")
    return replace(scan, samples=samples)


def collect_groups(samples: Iterable[Sample]) -> list[list[Path]]:
    """The files of each named group."""
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for sample in samples:
        if sample.group is not None:
            groups[sample.group].append(sample.path)
    return list(groups.values())


def linked_duplicates(
    duplicate_groups: Iterable[tuple[str, Collection[Path]]], samples: Collection[Sample]
) -> list[Collection[Path]]:
    """The groups of copies that must stay together: all exact ones, and near ones unless they are a scene.

    Frames of a fixed camera are all alike. Kept together they would leave nothing to test on, so that near copies that
    make up more than `SCENE` of a class are taken for different pictures of one scene.
    """
    duplicate_groups = list(duplicate_groups)
    oversized = {id(files) for files in oversized_groups(duplicate_groups, samples)}
    return [files for _, files in duplicate_groups if id(files) not in oversized]


def oversized_groups(
    duplicate_groups: Iterable[tuple[str, Collection[Path]]], samples: Iterable[Sample]
) -> list[Collection[Path]]:
    """The groups of near copies that are too large a part of a class to be kept together."""
    label_by_path = {sample.path: sample.label for sample in samples}
    class_counts = Counter(label_by_path.values())
    return [
        files
        for kind, files in duplicate_groups
        if kind == "near"
        and any(
            count > max(2, MAX_GROUP_FRACTION * class_counts[label])
            for label, count in Counter(label_by_path[path] for path in files if path in label_by_path).items()
        )
    ]


def merge_linked(samples: Iterable[Sample], linked: Iterable[Collection[Path]]) -> list[list[Sample]]:
    """Samples that go together, in the order that they came in; most are alone."""
    unit_by_path = {sample.path: [sample] for sample in samples}
    for paths in linked:
        linked_units = {
            id(unit): unit for unit in (unit_by_path[path] for path in sorted(paths) if path in unit_by_path)
        }
        largest, *others = sorted(linked_units.values(), key=len, reverse=True) or [[]]
        for unit in others:
            largest += unit
            unit_by_path |= {sample.path: largest for sample in unit}
    return list({id(unit): unit for unit in unit_by_path.values()}.values())
