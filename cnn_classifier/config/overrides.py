"""Overrides of the configuration, and the dotted keys that they use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def quote_override(value: str | Path) -> str:
    """Quote a value, so that Hydra reads it as a string whatever characters it contains."""
    return "'" + str(value).replace("'", "\\'") + "'"


def searchpath_override(directories: Sequence[str | Path]) -> str:
    """Return the override that is equivalent to `--config-dir`, which Hydra's compose API does not have."""
    urls = [quote_override(f"file://{Path(directory).absolute()}") for directory in directories]
    return f"hydra.searchpath=[{','.join(urls)}]"


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Map the dotted key of each leaf of nested dicts to its value, such as `{"optimizer.lr": 0.1}`."""
    if not isinstance(values, dict):
        return {prefix.removesuffix("."): values}
    return {key: value for name, child in values.items() for key, value in flatten(child, f"{prefix}{name}.").items()}
