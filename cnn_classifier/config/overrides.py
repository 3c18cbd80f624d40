"""Overrides of the configuration, and the dotted keys that they use."""

import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from cnn_classifier.config.instantiate import import_target
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.errors import quote_argument

MAPPING_KEYS = ("dataset.rename_classes",)
OWN_KEYS = ("warmup_epochs", "monitor")  # values of a scheduler that `build_schedulers` reads


def quote_override(value: str | Path) -> str:
    """Quote a value, so that Hydra reads it as a string whatever characters it contains."""
    # Hydra halves the backslashes before a quote.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda match: match[1] * 2 + "\\'" * bool(match[2]), str(value)) + "'"


def shell_override(key: str, value: str | Path) -> str:
    """Return an override with a text value to paste into a shell, quoted for Hydra and the shell if necessary."""
    is_plain = re.fullmatch(r"[\w./\\@%+-]+", str(value), re.ASCII) is not None
    return quote_argument(f"{key}={value if is_plain else quote_override(value)}")


def normalize_override(argument: str) -> str:
    """Return an override whose value Hydra cannot parse as one that it can, if the meaning is clear.

    Hydra's grammar has neither letters other than those of ASCII outside of quotes, nor quoted keys. Text is quoted,
    unless it has characters with a meaning in the grammar. A mapping of `MAPPING_KEYS` becomes quoted YAML.

    Args:
        argument: An argument of the command line; options and valid overrides are returned unchanged.
    """
    key, separator, value = argument.partition("=")
    if value == "None" and not (CONF_DIR / key).is_dir():  # Python's spelling
        return f"{key}=null"
    if not separator or argument.startswith("-") or is_valid_override(argument):
        return argument
    if key in MAPPING_KEYS and parse_mapping(value) is not None:
        return f"{key}={quote_override(value)}"
    return argument if re.search(r"[()\[\]{},]|\A['\"]", value) else f"{key}={quote_override(value)}"


def is_valid_override(argument: str) -> bool:
    """Return whether Hydra can parse an override."""
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def parse_mapping(text: str) -> dict[str, str] | None:
    """Return the mapping of text to text that YAML such as `{"Pepper,_bell": pepper}` describes, or None."""
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) and all(isinstance(v, str) for v in content.values()) else None


def resolve_mappings(config: DictConfig) -> None:
    """Replace YAML text under `MAPPING_KEYS`, see `normalize_override`, by the mapping that it describes."""
    for key in MAPPING_KEYS:
        value = OmegaConf.select(config, key)
        if isinstance(value, str) and (mapping := parse_mapping(value)) is not None:
            OmegaConf.update(config, key, mapping, merge=False, force_add=True)


def allow_existing(overrides: Sequence[str]) -> list[str]:
    """Return overrides in which the `+` of `trainer` and of `model.weights` is optional, as of `normalize_override`.

    Hydra requires `+` for new keys only, but a user cannot know which arguments of the `Trainer` `conf/trainer` has,
    nor that `weights` is an argument of some networks only.
    """
    is_optional = re.compile(r"\+trainer\.|\+?model\.weights=").match
    return [normalize_override(f"++{text.lstrip('+')}" if is_optional(text) else text) for text in overrides]


def given_keys(overrides: Sequence[str]) -> set[str]:
    """Return the keys of overrides that set a value."""
    return {text.lstrip("+").partition("=")[0] for text in overrides if "=" in text}


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
