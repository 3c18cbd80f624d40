"""Compose the configuration, and check it before torch is imported."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.budget import AUTO
from cnn_classifier.build import nearest
from cnn_classifier.errors import ConfigError
from cnn_classifier.own_files import require_readable
from cnn_classifier.secrets import masked
from cnn_classifier.storage import CONF_DIR, write_whole

Config = DictConfig
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)


def load(overrides: Sequence[str] = (), *, run_dir: str | Path | None = None) -> Config:
    """The configuration that `python train.py` would use with these words, for notebooks and tests.

    Args:
        overrides: What one would type, such as `dataset=cats_dogs`.
        run_dir: The folder for the run; by default a new one below `outputs`.

    Raises:
        ConfigError: If it does not compose, or a value is wrong.
    """
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose("config", list(overrides))
            if OmegaConf.is_interpolation(config, "run_dir"):  # of the command's own folders
                now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
                config.run_dir = str(run_dir or Path("outputs", config.dataset.name, now))
            check(config, overrides)
    except COMPOSITION_ERRORS as error:
        raise explain(error, overrides) from error
    return config


def quoted(value: str | Path) -> str:
    """A value as a word of Hydra's, whatever is in it."""
    return "'" + str(value).replace("'", "\\'") + "'"


def save(config: Config, path: Path) -> None:
    """Write the configuration as YAML, interpolations resolved, secrets left out."""
    write_whole(path, OmegaConf.to_yaml(OmegaConf.create(as_saved(config))).encode())


def as_saved(config: Config) -> dict[str, Any]:
    """The plain values that `save` writes and `read_saved` reads."""
    return dict(masked(plain(config), OmegaConf.to_container(config, resolve=False)))


def keep_words(path: Path) -> None:
    """Of what Hydra writes down of a sweep keep the words alone, without passwords and keys."""
    written: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    words = written["hydra"]["overrides"] if isinstance(written["hydra"], dict) else written
    write_whole(path, OmegaConf.to_yaml(OmegaConf.create(masked(words))).encode())


def read_saved(path: Path) -> dict[str, Any]:
    """A configuration that was written as YAML, as plain data; what it refers to is left alone.

    Raises:
        ConfigError: If it is damaged.
    """
    require_readable(path)
    try:
        return dict(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    except (*COMPOSITION_ERRORS, YAMLError) as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"{path} is no configuration that we wrote ({told})") from error


def same_run(config: Config, saved: Path) -> bool:
    """Whether a saved configuration is this one, apart from what is `auto` and what a resumed run may change."""
    theirs = read_saved(saved)
    mine = without_auto(as_saved(config), theirs)
    for values in (mine, theirs):
        folder = values.pop("run_dir")
        values.pop("resume")
        values.pop("sweep", None)
        values["trainer"] = values["trainer"] | {"default_root_dir": None, "max_epochs": None}
        for group in ("callbacks", "logger"):  # they hold paths below the run's folder
            values[group] = str(values[group]).replace(folder, "")
    return mine == theirs


def adopt(config: Config, saved: Path) -> None:
    """Take what is `auto` from a saved configuration: a run that goes on keeps what was settled when it began."""
    mine = plain(config)
    before, after = flat(mine), flat(without_auto(mine, read_saved(saved)))
    set_values(config, {key: value for key, value in after.items() if before.get(key) != value})


def set_values(config: Config, values: Mapping[str, Any]) -> None:
    """Set these paths, and leave all that refers to them to follow."""
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)


def without_auto(values: Any, settled: Any) -> Any:
    """Plain values, each `auto` replaced by what others have in its place, where they have that place."""
    if isinstance(values, dict) and isinstance(settled, dict):
        return {key: without_auto(value, settled.get(key, value)) for key, value in values.items()}
    return settled if values == AUTO else values


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """`{"trainer.max_epochs": 20, ...}`."""
    if not isinstance(values, dict):
        return {path.removesuffix("."): values}
    return {key: value for name, inner in values.items() for key, value in flat(inner, f"{path}{name}.").items()}


def plain(node: Any) -> Any:
    """Dicts, lists, strings and numbers in place of Hydra's own types, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check(config: Config, overrides: Sequence[str]) -> None:
    """Check what can be known without torch: each override's type against the value it replaces, and all ranges.

    Needs an initialised Hydra.

    Raises:
        ConfigError: Naming the key, the value and what was expected.
    """
    from cnn_classifier.checks import check_type, check_values  # with Pillow, which a misspelt key need not wait for

    words = [str(word) for word in overrides]
    parsed = OverridesParser.create().parse_overrides(words)
    replaced = [word for word in parsed if word.type is OverrideType.CHANGE and not is_group(word)]
    if replaced:
        chosen = [word for word, override in zip(words, parsed, strict=True) if override not in replaced]
        defaults = compose("config", [word for word in chosen if not word.startswith("hydra.")])
        for override in replaced:
            key = override.key_or_group
            check_type(key, plain(OmegaConf.select(config, key)), plain(OmegaConf.select(defaults, key)))
    values: dict[str, Any] = {str(name): plain(node) for name, node in config.items() if name != "run_dir"}
    check_values(values)


def is_group(override: Override) -> bool:
    return (CONF_DIR / override.key_or_group).is_dir() or override.key_or_group.startswith("hydra")


def explain(error: Exception, words: Sequence[str] = ()) -> ConfigError:
    """One line for what Hydra and OmegaConf say in many.

    Args:
        error: What they raised.
        words: The words of the command.
    """
    text = str(error)
    if found := re.search(r"Could not override '([\w./@-]+)'", text):
        key = found[1]
        return ConfigError(
            f"{key} is not in the configuration{suggestion(key, words)}; a new key is added with +{key}="
        )
    if found := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':\n((?:\t.*\n?)+)", text):
        name, group, options = found[1], found[2], found[3].split()
        return ConfigError(
            f"{group}={name.removeprefix(f'{group}/')} does not exist; expected one of: {', '.join(options)}"
        )
    if isinstance(error, OverrideParseException) or "Ambiguous value" in text or "Unknown function" in text:
        word = getattr(error, "override", None) or "dataset.root=my photos (1)"
        key, _, value = word.partition("=")
        return ConfigError(f"{word} cannot be read; quote what has special characters: \"{key}='{value}'\"")
    key = getattr(error, "full_key", None)
    return ConfigError(f"{key}: {' '.join(text.split())}" if key else " ".join(text.split()))


def suggestion(key: str, words: Sequence[str]) -> str:
    """A hint for a key that the chosen groups do not have: the likeliest spelling of its first unknown part."""
    groups = [word for word in words if (CONF_DIR / word.partition("=")[0]).is_dir() and "," not in word]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        node = compose("config", groups)
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return nearest(part, [str(known) for known in node])
        node = node[part]
    return ""
