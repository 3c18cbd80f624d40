"""Values of a configuration that are `auto`, and what becomes of them."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnn_classifier.data import AUTO


@dataclass(frozen=True)
class ResolvedValue:
    """A value that was `auto`.

    Args:
        key: Its path in the configuration.
        value: What it is now.
        why: The reason, in a few words.
    """

    key: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.key}={str(self.value).replace(' ', '')} ({self.reason})"


class Recipe:
    """The values of a run while they are being settled.

    Args:
        values: The plain configuration; it is left as it is.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = copy.deepcopy(dict(values))
        self.resolved: list[ResolvedValue] = []

    def get(self, key: str) -> Any:
        """The value at a path; None if there is none."""
        node: Any = self.values
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return node

    def resolve(self, key: str, value: Any, reason: str) -> None:
        """Set what is `auto`; a value that the user gave stays."""
        if self.get(key) == AUTO:
            path, _, name = key.rpartition(".")
            self.get(path)[name] = value
            self.resolved.append(ResolvedValue(key, value, reason))
