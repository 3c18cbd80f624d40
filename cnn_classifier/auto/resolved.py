"""The values that replace `auto` in a configuration, each with the reason that is printed."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cnn_classifier.config.schema import get_by_path
from cnn_classifier.data import AUTO


@dataclass(frozen=True)
class ResolvedValue:
    """A value for a key that is `auto`.

    Args:
        key: The dotted path of the key, such as `optimizer.lr`.
        value: The value that replaces `auto`, as plain data.
        reason: The reason for this value, in a few words.
    """

    key: str
    value: Any
    reason: str

    def __str__(self) -> str:
        """Return the line that is printed: `key=value (reason)`, with the value as an override."""
        value = "null" if self.value is None else str(self.value).replace(" ", "")
        return f"{self.key}={value} ({self.reason})"


@dataclass(frozen=True)
class Recipe:
    """A plain configuration in which `auto` values are resolved one after the other.

    Args:
        values: The plain configuration. It is never modified.
        resolved: The values that replaced `auto`, in the order of their resolution.
    """

    values: Mapping[str, Any]
    resolved: tuple[ResolvedValue, ...] = ()

    def get(self, key: str) -> Any:
        """Return the value of a dotted key, or `None` if there is no such key."""
        return get_by_path(self.values, key)

    def get_or(self, key: str, default: Any) -> Any:
        """Return the value of a dotted key, or the default if the value is `auto`."""
        value = self.get(key)
        return default if value == AUTO else value

    @property
    def step_size(self) -> int:
        """The number of images per training step and process; gradients of several batches may be accumulated."""
        return int(self.get("dataset.batch_size") * self.get("trainer.accumulate_grad_batches"))

    def apply(self, candidates: Iterable[ResolvedValue]) -> "Recipe":
        """Return a recipe in which the candidates replace `auto`; values that the user set are unchanged."""
        values, resolved = copy.deepcopy(dict(self.values)), list(self.resolved)
        for candidate in candidates:
            if get_by_path(values, candidate.key) == AUTO:
                path, _, name = candidate.key.rpartition(".")
                get_by_path(values, path)[name] = candidate.value
                resolved.append(candidate)
        return Recipe(values, tuple(resolved))

    def reset(self, keys: Iterable[str]) -> "Recipe":
        """Return a recipe in which the resolved values of some keys are `auto` again."""
        values, keys = copy.deepcopy(dict(self.values)), set(keys)
        for item in self.resolved:
            if item.key in keys:
                path, _, name = item.key.rpartition(".")
                get_by_path(values, path)[name] = AUTO
        return Recipe(values, tuple(item for item in self.resolved if item.key not in keys))
