"""Compose the configuration, and check it before torch is imported."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.config.paths import CONF_DIR
from cnn_classifier.config.secrets import redact
from cnn_classifier.config.yaml_files import check_yaml_files
from cnn_classifier.data import AUTO
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import atomic_write

Config = DictConfig


def load_config(overrides: Sequence[str] = (), *, run_dir: str | Path | None = None) -> Config:
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
            check_config(config, overrides)
    except COMPOSITION_ERRORS as error:
        raise translate_hydra_error(error, overrides) from error
    return config


def quote_override(value: str | Path) -> str:
    """A value as a word of Hydra's, whatever is in it."""
    return "'" + str(value).replace("'", "\\'") + "'"


def save_config(config: Config, path: Path) -> None:
    """Write the configuration as YAML, interpolations resolved, secrets left out."""
    atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(to_redacted_dict(config))).encode())


def to_redacted_dict(config: Config) -> dict[str, Any]:
    """The plain values that `save` writes and `read_saved` reads."""
    return dict(redact(to_container(config), OmegaConf.to_container(config, resolve=False)))


def redact_multirun_yaml(path: Path) -> None:
    """Of what Hydra writes down of a sweep keep the words alone, without passwords and keys."""
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    overrides = content["hydra"]["overrides"] if isinstance(content["hydra"], dict) else content
    atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(redact(overrides))).encode())


def load_saved_config(path: Path) -> dict[str, Any]:
    """A configuration that was written as YAML, as plain data; what it refers to is left alone.

    Raises:
        ConfigError: If it is damaged.
    """
    check_yaml_files(path)
    try:
        return dict(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    except (*COMPOSITION_ERRORS, YAMLError) as error:
        detail = " ".join(str(error).split())
        raise ConfigError(f"{path} is no configuration that we wrote ({detail})") from error


def is_same_experiment(config: Config, saved_path: Path) -> bool:
    """Whether a saved configuration is this one, apart from what is `auto` and what a resumed run may change."""
    previous = load_saved_config(saved_path)
    current = fill_auto(mark_auto(to_redacted_dict(config)), previous)
    for values in (current, previous):
        folder = values.pop("run_dir")
        values.pop("resume")
        values.pop("sweep", None)
        values["trainer"] = values["trainer"] | {"default_root_dir": None, "max_epochs": None}
        for group in ("callbacks", "logger"):  # they hold paths below the run's folder
            values[group] = str(values[group]).replace(folder, "")
    return current == previous


def inherit_resolved_values(config: Config, saved_path: Path) -> None:
    """Take what is `auto` from a saved configuration: a run that goes on keeps what was settled when it began."""
    current = mark_auto(to_container(config))
    before, after = flatten(current), flatten(fill_auto(current, load_saved_config(saved_path)))
    set_values(config, {key: value for key, value in after.items() if before.get(key) != value})


def set_values(config: Config, values: Mapping[str, Any]) -> None:
    """Set these paths, and leave all that refers to them to follow."""
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)


def fill_auto(values: Any, resolved: Any) -> Any:
    """Plain values, each `auto` replaced by what others have in its place, where they have that place."""
    if isinstance(values, dict) and isinstance(resolved, dict):
        return {key: fill_auto(value, resolved.get(key, value)) for key, value in values.items()}
    return resolved if values == AUTO else values


def mark_auto(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with `auto` in place of the nulls of `trainer` that `auto/` resolves.

    Lightning does not accept `auto` for these keys, and `Trainer(**config.trainer)` works at any time.
    """
    from cnn_classifier.config.schema import AUTO_IF_NULL

    trainer_config = values["trainer"]
    return dict(values) | {
        "trainer": trainer_config | {key: AUTO for key in AUTO_IF_NULL if trainer_config[key] is None}
    }


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """`{"trainer.max_epochs": 20, ...}`."""
    if not isinstance(values, dict):
        return {prefix.removesuffix("."): values}
    return {key: value for name, child in values.items() for key, value in flatten(child, f"{prefix}{name}.").items()}


def to_container(node: Any) -> Any:
    """Dicts, lists, strings and numbers in place of Hydra's own types, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check_config(config: Config, overrides: Sequence[str]) -> None:
    """Check what can be known without torch: each override's type against the value it replaces, and all ranges.

    Needs an initialised Hydra.

    Raises:
        ConfigError: Naming the key, the value and what was expected.
    """
    from cnn_classifier.config.schema import (  # with Pillow, which a misspelt key need not wait for
        check_type,
        check_values,
    )

    override_strings = [str(word) for word in overrides]
    parsed = OverridesParser.create().parse_overrides(override_strings)
    changed = [word for word in parsed if word.type is OverrideType.CHANGE and not is_group(word)]
    if changed:
        unchanged = [word for word, override in zip(override_strings, parsed, strict=True) if override not in changed]
        defaults = compose("config", [word for word in unchanged if not word.startswith("hydra.")])
        for override in changed:
            key = override.key_or_group
            check_type(key, to_container(OmegaConf.select(config, key)), to_container(OmegaConf.select(defaults, key)))
    values: dict[str, Any] = {str(name): to_container(node) for name, node in config.items() if name != "run_dir"}
    check_values(values)


def is_group(override: Override) -> bool:
    return (CONF_DIR / override.key_or_group).is_dir() or override.key_or_group.startswith("hydra")
