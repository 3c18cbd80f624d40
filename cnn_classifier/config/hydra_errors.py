"""Translation of Hydra and OmegaConf exceptions to `ConfigError`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnn_classifier.config.overrides import searchpath_override, shell_override
from cnn_classifier.config.signature import did_you_mean
from cnn_classifier.config.yaml_files import CONF_DIR, user_config_dirs
from cnn_classifier.errors import ConfigError, single_line

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)
SYNTAX_ERROR = re.compile(
    r"Error parsing override|mismatched input|no viable alternative|LexerNoViable|Ambiguous value"
)


def translate_hydra_error(error: Exception, argv: Sequence[str] = ()) -> ConfigError:
    """Convert an exception to a `ConfigError` of one line.

    Args:
        error: The exception raised by Hydra or OmegaConf.
        argv: The arguments of the command, overrides and options.
    """
    message = str(error)
    if match := re.search(r"Could not override '([\w./@-]+)'", message):
        key = match[1]
        if options := list_options_with(key):
            return ConfigError(f"{key} requires {' or '.join(options)}, which this command does not select")
        add = f"; add a new key with +{key}=" if "." in key else ""
        return ConfigError(f"{key} is not in the configuration{suggest_key(key, argv)}{add}")
    if match := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':\n((?:\t.*\n?)+)", message):
        name, group, options = match[1], match[2], match[3].split()
        return ConfigError(
            f"{group}={name.removeprefix(f'{group}/')} does not exist; expected one of: {', '.join(options)}"
        )
    if match := re.search(r"Sweep parameters '(.+)' requires --multirun", message):
        return ConfigError(f"{match[1]} is a sweep; add -m to run it")
    override = getattr(error, "override", None)
    if match := re.search(r"Ambiguous value for argument '(.*)'\n", message):
        override = match[1]
    if override and SYNTAX_ERROR.search(message):
        key, _, value = override.partition("=")
        quoted = shell_override(key, value)
        if "Ambiguous value" in message:
            return ConfigError(
                f"{override} has several values; add -m to run each of them, or quote a value with a comma: {quoted}"
            )
        return ConfigError(f"{override} cannot be parsed; quote a value with special characters: {quoted}")
    key = getattr(error, "full_key", None)
    return ConfigError(f"{key}: {single_line(error)}" if key else single_line(error))


def list_options_with(key: str) -> list[str]:
    """Return the options, such as `model=resnet`, whose YAML file has a key such as `model.dropout`."""
    group, _, name = key.partition(".")
    paths = sorted((CONF_DIR / group).glob("*.yaml")) if name and group in ("model", "optimizer", "scheduler") else []
    return [f"{group}={path.stem}" for path in paths if name in OmegaConf.load(path)]


def suggest_key(key: str, argv: Sequence[str]) -> str:
    """Return a hint for an unknown key: the most similar key of the chosen groups, or all keys at that level."""
    groups = [argument for argument in argv if is_group_override(argument) and "," not in argument]
    searchpath = [argument for argument in argv if argument.startswith("hydra.searchpath=")]
    if config_dirs := user_config_dirs(argv):
        searchpath.append(searchpath_override(config_dirs))
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            node: Any = OmegaConf.to_container(compose("config", [*searchpath, *groups]), resolve=False)
    except COMPOSITION_ERRORS:  # a group with an error of its own
        return ""
    for part in key.split("."):
        if not isinstance(node, dict):
            return ""
        if part not in node:
            return did_you_mean(part, [str(name) for name in node])
        node = node[part]
    return ""


def is_group_override(argument: str) -> bool:
    """Return whether an argument selects an option of a config group, such as `model=cnn`."""
    group, separator, _ = argument.partition("=")
    return bool(separator) and not Path(group).is_absolute() and (CONF_DIR / group).is_dir()
