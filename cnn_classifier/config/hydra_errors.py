"""Compose the configuration, and check it before torch is imported."""

import re
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cnn_classifier.config.paths import CONF_DIR
from cnn_classifier.config.signature import did_you_mean
from cnn_classifier.errors import ConfigError

COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)


def translate_hydra_error(error: Exception, overrides: Sequence[str] = ()) -> ConfigError:
    """One line for what Hydra and OmegaConf say in many.

    Args:
        error: What they raised.
        words: The words of the command.
    """
    message = str(error)
    if match := re.search(r"Could not override '([\w./@-]+)'", message):
        key = match[1]
        return ConfigError(
            f"{key} is not in the configuration{suggest_key(key, overrides)}; a new key is added with +{key}="
        )
    if match := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':\n((?:\t.*\n?)+)", message):
        name, group, options = match[1], match[2], match[3].split()
        return ConfigError(
            f"{group}={name.removeprefix(f'{group}/')} does not exist; expected one of: {', '.join(options)}"
        )
    if isinstance(error, OverrideParseException) or "Ambiguous value" in message or "Unknown function" in message:
        override = getattr(error, "override", None) or "dataset.root=my photos (1)"
        key, _, value = override.partition("=")
        return ConfigError(f"{override} cannot be read; quote what has special characters: \"{key}='{value}'\"")
    key = getattr(error, "full_key", None)
    return ConfigError(f"{key}: {' '.join(message.split())}" if key else " ".join(message.split()))


def suggest_key(key: str, overrides: Sequence[str]) -> str:
    """A hint for a key that the chosen groups do not have: the likeliest spelling of its first unknown part."""
    group_overrides = [word for word in overrides if (CONF_DIR / word.partition("=")[0]).is_dir() and "," not in word]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        node = compose("config", group_overrides)
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return did_you_mean(part, [str(known) for known in node])
        node = node[part]
    return ""
