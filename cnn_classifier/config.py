"""Compose the configuration, and check it before torch is imported."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cnn_classifier.build import bind, nearest
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.errors import ConfigError
from cnn_classifier.models.checks import pooled_size

# In a wheel the YAML is packaged; in a checkout, editable or not, it lies beside the package.
_PACKAGED = Path(__file__).parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"

Config = DictConfig
# Lightning takes numbers, words and lists here; its own signature is checked once it is imported.
SEVERAL_KINDS = ("trainer.devices", "trainer.precision")
COMPOSITION_ERRORS = (HydraException, OmegaConfBaseException)

# Smallest and largest value of the numbers that the YAML sets; None is open.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "seed": (0, 2**32 - 1),
    "loss.label_smoothing": (0, 1),
    "model.dense": (1, None),
    "model.dense_dropout": (0, 1),
    "model.dropout": (0, 1),
    "model.widths": (1, None),
    "optimizer.lr": (0, None),
    "optimizer.momentum": (0, 1),
    "optimizer.weight_decay": (0, None),
    "scheduler.factor": (0, 1),
    "scheduler.patience": (0, None),
    "scheduler.warmup_epochs": (0, None),
    "trainer.accumulate_grad_batches": (1, None),
    "trainer.gradient_clip_val": (0, None),
    "trainer.max_epochs": (1, None),
}


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
        raise explain(error) from error
    return config


def save(config: Config, path: Path) -> None:
    """Write the configuration as YAML, interpolations resolved."""
    OmegaConf.save(config, path, resolve=True)


def plain(node: Any) -> Any:
    """Dicts, lists, strings and numbers in place of Hydra's own types, interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True)


def check(config: Config, overrides: Sequence[str]) -> None:
    """Check what can be known without torch: each override's type against the value it replaces, and all ranges.

    Needs an initialised Hydra.

    Raises:
        ConfigError: Naming the key, the value and what was expected.
    """
    words = [str(word) for word in overrides]
    parsed = OverridesParser.create().parse_overrides(words)
    replaced = [word for word in parsed if word.type is OverrideType.CHANGE and not is_group(word)]
    if replaced:
        chosen = [word for word, override in zip(words, parsed, strict=True) if override not in replaced]
        defaults = compose("config", [word for word in chosen if not word.startswith("hydra.")])
        for override in replaced:
            check_type(
                override.key_or_group,
                select(config, override),
                OmegaConf.select(defaults, override.key_or_group),
            )
    values = {name: plain(node) for name, node in config.items() if isinstance(node, Config)} | {"seed": config.seed}
    for key, (low, high) in RANGES.items():
        check_range(key, find(values, key), low, high)
    bind(DatasetOptions, values["dataset"], named="dataset")
    options = DatasetOptions(**values["dataset"])
    if widths := find(values, "model.widths"):
        pooled_size(options.image_size, widths)


def is_group(override: Override) -> bool:
    return (CONF_DIR / override.key_or_group).is_dir() or override.key_or_group.startswith("hydra")


def select(config: Config, override: Override) -> Any:
    return OmegaConf.select(config, override.key_or_group)


def check_type(key: str, value: Any, default: Any) -> None:
    """Raise ConfigError if a value is of another kind than the default it replaces; null takes and gives anything."""
    if value is None or default is None or key in SEVERAL_KINDS or same_kind(value, default):
        return
    kind = "list" if isinstance(default, ListConfig) else type(default).__name__
    raise ConfigError(f"{key}={value} is of the wrong type; expected {kind} such as {key}={default}")


def same_kind(value: Any, default: Any) -> bool:
    """Whether a value is of the default's type; whole numbers are numbers too, and lists go by their first item."""
    if isinstance(default, ListConfig):
        return isinstance(value, ListConfig) and all(same_kind(item, default[0]) for item in value if default)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def check_range(key: str, value: Any, low: float | None, high: float | None) -> None:
    """Raise ConfigError if a number, or any number of a list, is below `low` or above `high`."""
    for number in value if isinstance(value, list) else [value]:
        if not isinstance(number, int | float):
            continue
        if (low is not None and number < low) or (high is not None and number > high):
            expected = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ConfigError(f"{key}={value} is out of range; expected {expected}")


def find(values: Any, key: str) -> Any:
    """The value of a dotted key; None if the chosen group has no such key."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def explain(error: Exception) -> ConfigError:
    """One line for what Hydra and OmegaConf say in many."""
    text = str(error)
    if found := re.search(r"Could not override '([\w./@-]+)'", text):
        key = found[1]
        return ConfigError(f"{key} is not in the configuration{suggestion(key)}; a new key is added with +{key}=")
    if found := re.search(r"Could not find '([^']+)'\n\nAvailable options in '([^']+)':\n((?:\t.*\n?)+)", text):
        name, group, options = found[1], found[2], found[3].split()
        return ConfigError(
            f"{group}={name.removeprefix(f'{group}/')} does not exist; expected one of: {', '.join(options)}"
        )
    return ConfigError(" ".join(text.split()))


def suggestion(key: str) -> str:
    """A hint for a key that the configuration does not have: the likeliest spelling of its first unknown part."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        node = compose("config")
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            return ""
        if part not in node:
            return nearest(part, [str(known) for known in node])
        node = node[part]
    return ""
