"""Groups of samples that must be in the same split: samples of one patient, and duplicates."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.errors import ConfigError

# Near-duplicates that make up a larger fraction of a class are not kept together.
MAX_GROUP_FRACTION = 0.25


def assign_groups(index: DatasetIndex, pattern: str | None) -> DatasetIndex:
    """Assign each sample to the group named in its path.

    Args:
        index: The dataset.
        pattern: A regular expression that is searched for in the path relative to `index.root`, with forward slashes.
            The group name is the first capture group, or the whole match if there is none. A sample whose path does not
            match has no group. None returns the dataset unchanged.

    Raises:
        ConfigError: If the pattern is not a valid regular expression, or yields no group for any sample.
    """
    if pattern is None:
        return index
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"dataset.group_pattern={pattern} is not a valid regular expression: {error}.") from error
    root_prefix = f"{index.root.absolute().as_posix()}/"

    def find_group(path: Path) -> str | None:
        match = expression.search(path.absolute().as_posix().removeprefix(root_prefix))
        return match[min(1, expression.groups)] if match else None

    samples = [replace(sample, group=find_group(sample.path)) for sample in index.samples]
    if not any(sample.group for sample in samples):
        example = samples[0].path.absolute().as_posix().removeprefix(root_prefix)
        raise ConfigError(f"dataset.group_pattern={pattern} yields no group for any image path, such as {example}.")
    return replace(index, samples=samples)


def collect_groups(samples: Iterable[Sample]) -> list[list[Path]]:
    """Return the files of each group; samples without a group are omitted."""
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for sample in samples:
        if sample.group is not None:
            groups[sample.group].append(sample.path)
    return list(groups.values())


def linked_duplicates(
    duplicate_groups: Iterable[tuple[str, Collection[Path]]], samples: Collection[Sample]
) -> list[Collection[Path]]:
    """Select the duplicate groups that must be in the same split.

    These are all exact duplicates, and near-duplicates up to `MAX_GROUP_FRACTION` of a class. The frames of a fixed
    camera are all near-duplicates; kept together they would leave no image for the other splits.

    Args:
        duplicate_groups: The duplicate groups of `find_duplicates`.
        samples: All samples of the dataset.

    Returns:
        The files of each selected group.
    """
    duplicate_groups = list(duplicate_groups)
    oversized_ids = {id(files) for files in oversized_groups(duplicate_groups, samples)}
    return [files for _, files in duplicate_groups if id(files) not in oversized_ids]


def oversized_groups(
    duplicate_groups: Iterable[tuple[str, Collection[Path]]], samples: Iterable[Sample]
) -> list[Collection[Path]]:
    """Return the near-duplicate groups that exceed `MAX_GROUP_FRACTION` of a class; see `linked_duplicates`."""
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
    """Merge samples into units that must be in the same split.

    Args:
        samples: The samples.
        linked: Sets of files that must be in the same split. Sets that share a file are merged.

    Returns:
        The units in the order of their first sample. Most units hold one sample.
    """
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
