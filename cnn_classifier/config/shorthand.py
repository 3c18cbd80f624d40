"""Arguments of `train` that are not overrides, and overrides that imply others."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cnn_classifier.config.overrides import is_valid_override, quote_override
from cnn_classifier.config.yaml_files import CONF_DIR, load_option, user_config_dirs
from cnn_classifier.data import AUTO
from cnn_classifier.data.config import TABLE_SUFFIXES
from cnn_classifier.errors import ConfigError, quote_argument

SOURCE_KEYS = ("dataset.root", "dataset.source", "dataset.train_dir", "dataset.val_dir", "dataset.test_dir")
MULTIRUN_KEY = re.compile(r"hydra[./](sweep|sweeper|launcher)\b")  # keys of Hydra that only sweeps read
MODEL_OVERRIDES = ("override /model@_global_.model", "override /model")  # in the YAML file of a dataset
# Options of Hydra whose value is the next argument.
OPTIONS_WITH_VALUE = (
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--experimental-rerun", "--info", "-i"),
)
# Options without a value.
FLAGS = (
    *("-h", "--help", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m"),
    *("-sc", "--shell-completion"),
)


def expand_arguments(argv: Sequence[str]) -> list[str]:
    """Replace a path by the overrides that it stands for, and add the options of groups that overrides imply.

    Args:
        argv: Overrides, options of Hydra, and at most one path or URL of images.

    Raises:
        ConfigError: If an argument is neither an override nor an option nor a path, or two arguments contradict.
    """
    arguments: list[str] = []
    paths: list[str] = []
    for previous, argument, following in zip(["", *argv], argv, [*argv[1:], ""], strict=False):
        if previous in OPTIONS_WITH_VALUE:
            arguments.append(argument)
        elif argument.startswith("-"):
            check_option(argument)
            arguments.append(argument)
        elif is_source(argument):
            paths.append(argument)
            arguments.append(source_override(argument))
        else:
            check_override(previous, argument, following)
            arguments.append(argument)
    if len(paths) > 1:
        raise ConfigError(f"{paths[0]} and {paths[1]} are two paths: expected one; quote a path that contains spaces")
    return add_implied_model(add_implied_dataset(arguments, paths), [CONF_DIR, *user_config_dirs(argv)])


def is_source(argument: str) -> bool:
    """Return whether an argument is an existing path, or a URL, and not an override."""
    if "=" in argument and not argument.startswith(("/", "./", "../", "~/")) and is_valid_override(argument):
        return False
    return re.match(r"https?://", argument) is not None or expand_home(argument).exists()


def expand_home(path: str) -> Path:
    """Return a path with `~/` expanded; `~model` deletes a key."""
    return Path(path).expanduser() if path.startswith("~/") else Path(path)


def source_override(path: str) -> str:
    """Return the override for a folder, or for a file or URL."""
    key = "dataset.root" if expand_home(path).is_dir() else "dataset.source"
    return f"{key}={quote_override(path)}"


def check_option(argument: str) -> None:
    """Raise ConfigError for an option that Hydra does not have."""
    name, _, value = argument.partition("=")
    if name in (*FLAGS, *OPTIONS_WITH_VALUE):
        return
    key = {"data": "dataset.root"}.get(name.lstrip("-"), name.lstrip("-"))
    raise ConfigError(
        f"{argument} is not an option of train; set a value with key=value, such as {key}={value or 'VALUE'}, "
        "and see train --help"
    )


def check_override(previous: str, argument: str, following: str) -> None:
    """Raise ConfigError for an argument that is neither an override nor a path.

    Args:
        previous: The argument before it, which it may belong to.
        argument: The argument.
        following: The argument after it.
    """
    key, separator, _ = argument.partition("=")
    if (separator and key) or re.fullmatch(r"~[\w./@-]+", argument):
        return
    if separator or following.startswith("="):
        raise ConfigError(f"{previous if separator else argument} has a space before =; write key=value without spaces")
    if match := re.fullmatch(r"([a-z][\w.]+):(?![/\\])(.*)", argument):
        raise ConfigError(f"{argument} is not an override; write {match[1]}={match[2]}")
    hint = ""
    if "=" in previous and not previous.startswith("-"):
        hint = f"; if it belongs to the argument before it, quote both: {quote_argument(f'{previous} {argument}')}"
    raise ConfigError(
        f"{argument} does not exist: expected a folder, archive, CSV file or URL of images, or key=value{hint}"
    )


def add_implied_dataset(arguments: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Add `dataset=folder` if a source is given and no dataset is selected.

    Args:
        arguments: Overrides and options.
        paths: The path that was given without a key, if any; it contradicts another dataset.

    Raises:
        ConfigError: If one source would be ignored in favor of another.
    """
    values = dict(argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument)
    given = {key: values[key] for key in SOURCE_KEYS if values.get(key) not in (None, "null", "None")}
    others = [key for key in given if key not in ("dataset.root", "dataset.source")]
    is_table = given.get("dataset.source", "").strip("'\"").lower().endswith(TABLE_SUFFIXES)
    if "dataset.source" in given and (others or ("dataset.root" in given and not is_table)):
        other = (others or ["dataset.root"])[0]
        raise ConfigError(f"dataset.source and {other}={given[other]} are two sources: set one of them")
    if paths and values.get("dataset", "folder") != "folder":
        raise ConfigError(f"{paths[0]} and dataset={values['dataset']} are two datasets: remove one of them")
    if not given or "dataset" in values or "experiment" in values:
        return list(arguments)
    first = next(index for index, text in enumerate(arguments) if text.lstrip("+").partition("=")[0] in given)
    return [*arguments[:first], "dataset=folder", *arguments[first:]]


def add_implied_model(arguments: Sequence[str], config_dirs: Sequence[Path]) -> list[str]:
    """Add `model=resnet` if an override sets a value of a network and the dataset selects `model=auto`.

    In a sweep over networks, the values may be of any of them; Hydra first composes the default, which may lack them.

    Args:
        arguments: Overrides and options.
        config_dirs: The directories of config groups.
    """
    values = dict(argument.lstrip("+").split("=", 1) for argument in arguments if "=" in argument)
    if "," in values.get("model", ""):
        return [f"++{argument}" if argument.startswith("model.") else argument for argument in arguments]
    if not {"model", "experiment"}.isdisjoint(values) or find_model(values.get("dataset", ""), config_dirs) != AUTO:
        return list(arguments)
    keys = {f"model.{name}" for name in load_option("model", "resnet")}
    for index, argument in enumerate(arguments):
        if argument.lstrip("+").partition("=")[0] in keys:
            return [*arguments[:index], "model=resnet", *arguments[index:]]
    return list(arguments)


def find_model(dataset: str, config_dirs: Sequence[Path]) -> str | None:
    """Return the option of `model` that the YAML file of a dataset selects, or one that it is based on."""
    path = next((path for folder in config_dirs if (path := folder / "dataset" / f"{dataset}.yaml").is_file()), None)
    defaults: list[Any] = OmegaConf.to_object(OmegaConf.load(path)).get("defaults", []) if path else []  # type: ignore[union-attr]
    for item in reversed(defaults):
        selected = [find_model(item, config_dirs)] if isinstance(item, str) else map(item.get, MODEL_OVERRIDES)
        if model := next(filter(None, selected), None):
            return str(model)
    return None


def check_multirun_options(argv: Sequence[str], *, is_sweep: bool) -> None:
    """Raise ConfigError for an override that has no effect with, or without, `-m`."""
    if not {"-c", "--cfg", "-i", "--info"}.isdisjoint(argv):
        return
    for argument in argv:
        key = argument.lstrip("+").partition("=")[0]
        if not is_sweep and argument.startswith("sweep.resume="):
            raise ConfigError(f"{argument} requires -m and the overrides of that sweep")
        if not is_sweep and MULTIRUN_KEY.match(key):
            raise ConfigError(f"{argument} has no effect without -m, which runs a sweep")
        if is_sweep and key in ("run_dir", "hydra.run.dir"):
            raise ConfigError(f"{argument} has no effect with -m; use hydra.sweep.dir=PATH")
