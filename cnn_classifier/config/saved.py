"""The `config.yaml` of an earlier run: loading, comparison and reuse of its resolved values; does not import torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from cnn_classifier.config.compose import Config, mark_auto, set_values, to_container, to_redacted_dict
from cnn_classifier.config.hydra_errors import COMPOSITION_ERRORS
from cnn_classifier.config.overrides import flatten
from cnn_classifier.config.yaml_files import check_yaml_files
from cnn_classifier.data import AUTO
from cnn_classifier.errors import ConfigError, single_line


def load_saved_config(path: Path) -> dict[str, Any]:
    """Load a config that `save_config` wrote, as plain data; interpolations are not resolved.

    Args:
        path: The YAML file.

    Raises:
        ConfigError: If it cannot be read.
    """
    check_yaml_files(path)
    try:
        return dict(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    except (*COMPOSITION_ERRORS, YAMLError) as error:
        raise ConfigError(f"Cannot read {path}: {single_line(error)}. Expected a config written by a run.") from error


def is_same_experiment(config: Config, saved_path: Path) -> bool:
    """Return whether a saved config is the same except for `auto` values and the places of the run and its data.

    Args:
        config: The config of this run.
        saved_path: The `config.yaml` of an earlier run.
    """
    saved = load_saved_config(saved_path)
    current = flatten_portable(fill_auto(mark_auto(to_redacted_dict(config)), saved))
    previous = flatten_portable(saved)
    ignored = ("run_dir", "resume", "sweep.", "trainer.default_root_dir", "trainer.max_epochs")
    keys = {key for key in current.keys() | previous.keys() if not key.startswith(ignored)}
    return all(
        is_same_place(current.get(key), previous.get(key))
        if key in ("dataset.root", "dataset.source")
        else current.get(key) == previous.get(key)
        for key in keys
    )


def flatten_portable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a config, with the paths below `run_dir` relative to it, so that the config of a moved run is equal."""
    folder = str(values["run_dir"]).replace("\\", "/")

    def to_relative(value: Any) -> Any:
        path = value.replace("\\", "/") if isinstance(value, str) else ""  # the run may come from Windows
        return path.removeprefix(folder) if f"{path}/".startswith(f"{folder}/") else value

    return {key: to_relative(value) for key, value in flatten(values).items()}


def is_same_place(current: Any, previous: Any) -> bool:
    """Return whether two paths are the same, or the previous one no longer exists and has the same last part."""
    if current == previous or not (isinstance(current, str) and isinstance(previous, str)):
        return bool(current == previous)
    current_path, previous_path = Path(current).expanduser().resolve(), Path(previous).expanduser().resolve()
    previous_name = previous.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return current_path == previous_path or (not previous_path.exists() and previous_name == current_path.name)


def inherit_resolved_values(config: Config, saved_path: Path) -> None:
    """Replace the `auto` values by those of a saved config, so that a resumed run keeps its resolved values.

    Args:
        config: The config of this run, which is modified.
        saved_path: The `config.yaml` of the run to resume.
    """
    current = mark_auto(to_container(config))
    filled = fill_auto(current, load_saved_config(saved_path))
    groups = [name for name in ("model", "optimizer") if current[name]["_target_"] == AUTO]
    set_values(config, {name: filled[name] for name in groups})
    before, after = flatten(current), flatten({key: value for key, value in filled.items() if key not in groups})
    set_values(config, {key: value for key, value in after.items() if before.get(key) != value})


def fill_auto(values: Any, resolved: Any) -> Any:
    """Replace each `auto` in nested values by the resolved value with the same key, if there is one.

    A node whose `_target_` is `auto` is replaced as a whole, except for the values that are not `auto`.
    """
    if isinstance(values, dict) and isinstance(resolved, dict) and values.get("_target_") == AUTO:
        return {**resolved, **{key: value for key, value in values.items() if value != AUTO}}
    if isinstance(values, dict) and isinstance(resolved, dict):
        return {key: fill_auto(value, resolved.get(key, value)) for key, value in values.items()}
    return resolved if values == AUTO else values
