"""Compose, check, save and compare configurations; does not import torch."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS, translate_hydra_error
from cnn_classifier.config.hydra_runtime import hydra_runtime, resolve_runtime_values
from cnn_classifier.config.overrides import (
    allow_existing,
    drop_values_of_replaced_targets,
    given_keys,
    quote_override,
    resolve_mappings,
    searchpath_override,
)
from cnn_classifier.config.secrets import redact
from cnn_classifier.config.shorthand import expand_arguments
from cnn_classifier.config.signature import did_you_mean
from cnn_classifier.config.unused import COMPONENT_DICTS, COMPONENT_GROUPS, check_components, check_conflicts
from cnn_classifier.config.yaml_files import CONF_DIR, check_yaml_files, load_option
from cnn_classifier.data import AUTO
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import atomic_write

Config = DictConfig


def load_config(
    overrides: Sequence[str] = (), *, run_dir: str | Path | None = None, config_dir: str | Path | None = None
) -> Config:
    """Compose and check the config that `python train.py` uses with the same overrides.

    Args:
        overrides: The overrides as on the command line, such as `dataset=cats_dogs`, or the path of the images.
        run_dir: The directory of the run, by default `outputs/<dataset>/<model>/<time>`.
        config_dir: A directory with additional config groups, like `--config-dir` of the command.

    Raises:
        ConfigError: If the config cannot be composed, or a value is invalid.
    """
    arguments = allow_existing(expand_arguments(overrides))
    if run_dir is not None:
        arguments.append(f"run_dir={quote_override(run_dir)}")
    if config_dir is not None:
        check_yaml_files(Path(config_dir))
        arguments.append(searchpath_override([config_dir]))
    try:
        with (
            initialize_config_dir(str(CONF_DIR), version_base="1.3"),
            hydra_runtime(compose("config", arguments, return_hydra_config=True)) as config,
        ):
            config.run_dir = HydraConfig.get().run.dir
            resolve_runtime_values(config)
            check_config(config, arguments)
    except (*COMPOSITION_ERRORS, ValueError) as error:
        raise translate_hydra_error(error, arguments) from error
    return config


def save_config(config: Config, path: Path) -> None:
    """Write the config as YAML, with interpolations resolved and secrets redacted."""
    atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(to_redacted_dict(config))).encode())


def to_redacted_dict(config: Config) -> dict[str, Any]:
    """Convert the config to the plain values that `save_config` writes and `load_saved_config` reads."""
    return dict(redact(to_container(config), OmegaConf.to_container(config, resolve=False)))


def redact_multirun_yaml(path: Path) -> None:
    """Reduce Hydra's `multirun.yaml` to its overrides, with secrets redacted."""
    content: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    overrides = content["hydra"]["overrides"] if isinstance(content["hydra"], dict) else content
    atomic_write(path, OmegaConf.to_yaml(OmegaConf.create(redact(overrides))).encode())


def set_values(config: Config, values: Mapping[str, Any]) -> None:
    """Set the values of dotted keys; interpolations that refer to them are kept."""
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False)


def mark_auto(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with `auto` in place of the nulls of `trainer` that `auto/` resolves.

    Lightning does not accept `auto` for these keys, and `Trainer(**config.trainer)` works at any time.
    """
    from cnn_classifier.config.schema import AUTO_IF_NULL

    trainer_config = values["trainer"]
    return dict(values) | {
        "trainer": trainer_config | {key: AUTO for key in AUTO_IF_NULL if trainer_config[key] is None}
    }


def to_container(node: Any) -> Any:
    """Convert an OmegaConf node to plain dicts and lists with interpolations resolved; other values are returned."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def check_config(config: Config, overrides: Sequence[str]) -> None:
    """Check the type of each override against the value that it replaces, and all ranges.

    Hydra must be initialized.

    Args:
        config: The composed config.
        overrides: The overrides it was composed with.

    Raises:
        ConfigError: If a value is invalid; the message names the key, the value and what was expected.
    """
    # Imports Pillow; unknown keys are reported before.
    from cnn_classifier.config.schema import check_type, check_values

    resolve_mappings(config)
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    changed = [override for override in parsed if override.type is OverrideType.CHANGE and not is_group(override)]
    if changed:
        defaults = compose(
            "config", [text for text, override in zip(overrides, parsed, strict=True) if override not in changed]
        )
        for override in changed:
            key = override.key_or_group
            check_type(key, to_container(OmegaConf.select(config, key)), to_container(OmegaConf.select(defaults, key)))
    drop_values_of_replaced_targets(config, [override.key_or_group for override in parsed])
    values: dict[str, Any] = {str(name): to_container(node) for name, node in config.items() if name != "run_dir"}
    roots = {override.key_or_group.partition(".")[0] for override in parsed}
    check_known_keys(values, roots, OmegaConf.to_yaml(config))
    check_auto_options(values)
    check_components(values, added_groups(parsed))
    check_conflicts(values, given_keys(overrides))
    check_values(values)


def check_known_keys(values: Mapping[str, Any], overridden: set[str], text: str) -> None:
    """Check that every key belongs to the root config or to a component, see `check_components` for their arguments.

    Args:
        values: The config as plain data.
        overridden: The keys of the root that overrides name; a YAML file may add others, such as notes, if they are not
            similar to a known key.
        text: The config with its interpolations; a new key of the root that one of them uses is a variable.

    Raises:
        ConfigError: If nothing reads a key.
    """
    root: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / "config.yaml"), resolve=False)
    del root["defaults"], root["hydra"]
    known = [*root, *COMPONENT_GROUPS, "dataset", "trainer"]
    for name in values:
        is_typo = name in overridden or get_close_matches(name, known, n=1, cutoff=0.8)
        if name not in known and is_typo and f"${{{name}" not in text:
            raise ConfigError(f"{name_key(name, values[name])} is not in the configuration{did_you_mean(name, known)}")
    for group in [name for name, node in root.items() if isinstance(node, dict)]:
        for name in values[group] or {}:
            if name not in root[group]:
                raise ConfigError(f"{group}.{name} is not in the configuration{did_you_mean(name, root[group])}")
    for group in COMPONENT_DICTS:
        for name, node in (values.get(group) or {}).items():
            if node is not None and not (isinstance(node, dict) and "_target_" in node):
                raise ConfigError(f"{group}.{name}={node} is not a component: expected a mapping with _target_")


def name_key(name: str, value: Any) -> str:
    """Return the dotted key of the first value of a node, such as `search.x`."""
    return f"{name}.{next(iter(value))}" if isinstance(value, Mapping) and value else name


def check_auto_options(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for an added key of `model=auto` or `optimizer=auto`."""
    for group in ("model", "optimizer"):
        node = values.get(group) or {}
        if node.get("_target_") == AUTO and (unknown := node.keys() - load_option(group, AUTO).keys()):
            raise ConfigError(f"{group}=auto has no {min(unknown)!r}; select an option of {group} that has it")


def added_groups(overrides: Sequence[Override]) -> set[str]:
    """Return the groups whose components have new keys or another class; other keys are those of `conf/`."""
    return {
        override.key_or_group.partition(".")[0]
        for override in overrides
        if (override.is_add() or override.is_force_add() or override.key_or_group.endswith("_target_"))
        and override.key_or_group != "model.weights"  # `allow_existing` adds it
    }


def is_group(override: Override) -> bool:
    """Return whether an override selects an option of a config group, or is for Hydra."""
    return (CONF_DIR / override.key_or_group).is_dir() or override.key_or_group.startswith("hydra")
