"""Give the classes of a scan other names, and its images their groups."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cnn_classifier.data.classes import require_usable
from cnn_classifier.data.folder import Scan
from cnn_classifier.errors import ConfigError


def renamed(scan: Scan, class_names: Mapping[str | int, str | int] | None) -> Scan:
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
    told = [new_names.get(name, name) for name in scan.class_names]
    names = sorted(set(told))
    require_usable(names, where="dataset.class_names")
    labels = {name: label for label, name in enumerate(names)}
    samples = [replace(sample, label=labels[told[sample.label]]) for sample in scan.samples]
    return replace(scan, samples=samples, class_names=names)


def grouped(scan: Scan, pattern: str | None) -> Scan:
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
    top = f"{scan.root.absolute().as_posix()}/"

    def group_of(path: Path) -> str | None:
        match = expression.search(path.absolute().as_posix().removeprefix(top))
        return match[min(1, expression.groups)] if match else None

    samples = [replace(sample, group=group_of(sample.path)) for sample in scan.samples]
    if not any(sample.group for sample in samples):
        first = samples[0].path.absolute().as_posix().removeprefix(top)
        raise ConfigError(f"dataset.group_pattern={pattern} names no group in any path, such as {first}")
    return replace(scan, samples=samples)
