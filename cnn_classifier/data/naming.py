"""Give the classes of a scan other names, and its images their groups."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.classes import check_class_names
from cnn_classifier.data.folder import DatasetIndex
from cnn_classifier.errors import ConfigError


def rename_classes(scan: DatasetIndex, class_names: Mapping[str | int, str | int] | None) -> DatasetIndex:
    """The same images under other class names, sorted anew; classes that are given one name become one.

    Args:
        scan: What was found.
        class_names: New names by old; classes that it does not name keep theirs.

    Raises:
        DataError: If two of the names differ only in case.
    """
    if not class_names:
        return scan
    new_names = {str(old): str(new) for old, new in class_names.items()}  # YAML reads 0 as a number
    renamed_classes = [new_names.get(name, name) for name in scan.class_names]
    names = sorted(set(renamed_classes))
    check_class_names(names, where="dataset.class_names")
    labels = {name: label for label, name in enumerate(names)}
    samples = [replace(sample, label=labels[renamed_classes[sample.label]]) for sample in scan.samples]
    return replace(scan, samples=samples, class_names=names)


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
