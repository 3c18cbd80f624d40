"""Overrides of the configuration, and the dotted keys that they use."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from cnn_classifier.config.instantiate import import_target

OWN_KEYS = ("warmup_epochs", "monitor")  # values of a scheduler that `build_schedulers` reads


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


def drop_values_of_replaced_targets(config: DictConfig, changed_keys: Sequence[str]) -> None:
    """Drop the values of a config node that its overridden `_target_` does not accept.

    With `optimizer._target_=torch.optim.RMSprop`, the node still has the values of the selected option. Those that are
    overridden, too, are kept: an invalid one is an error.

    Args:
        config: The composed config, modified in place.
        changed_keys: The dotted keys of all overrides.
    """
    for key in changed_keys:
        name, _, last = key.rpartition(".")
        if last != "_target_":
            continue
        node = OmegaConf.select(config, name)
        accepted = {"_target_", *OWN_KEYS, *inspect.signature(import_target(str(node["_target_"]))).parameters}
        accepted |= {changed.removeprefix(f"{name}.").partition(".")[0] for changed in changed_keys}
        with open_dict(config):
            for value_name in [value_name for value_name in node if value_name not in accepted]:
                del node[value_name]
