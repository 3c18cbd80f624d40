"""The directories of YAML files, and checks before Hydra loads them: encoding, syntax, size with aliases expanded."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from cnn_classifier.errors import ConfigError, single_line

# In a wheel, `conf/` is part of the package; in a checkout, it is next to the package.
_PACKAGED = Path(__file__).parents[1] / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"
MAX_VALUES = 100_000  # per file, with aliases expanded


def user_config_dirs(argv: Sequence[str]) -> list[Path]:
    """Return the directories given with `--config-dir DIR`, `-cd DIR` or `--config-dir=DIR`."""
    separate = [value for option, value in pairwise(argv) if option in ("--config-dir", "-cd")]
    inline = [argument.partition("=")[2] for argument in argv if argument.startswith("--config-dir=")]
    return [Path(folder) for folder in (*separate, *inline)]


def load_option(group: str, name: str) -> dict[str, Any]:
    """Return the values of an option of a config group."""
    from omegaconf import OmegaConf  # here, since the serving image does not contain it

    values: Any = OmegaConf.to_container(OmegaConf.load(CONF_DIR / group / f"{name}.yaml"))
    return {key: value for key, value in values.items() if key != "defaults"}


def check_yaml_files(*paths: Path) -> None:
    """Check YAML files, and those in directories and their subdirectories.

    Args:
        paths: The files and directories.

    Raises:
        ConfigError: If a file is not valid YAML in UTF-8, or expands to more than `MAX_VALUES` values.
    """
    import yaml  # type: ignore[import-untyped]  # here, since the serving image does not contain it

    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.yaml")))]
    for path in files:
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
            count = 0 if node is None else count_values(node, {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"Cannot read {path} as YAML in UTF-8: {single_line(error)}") from error
        if count > MAX_VALUES:
            raise ConfigError(f"{path} expands to {count:,} values through aliases: expected at most {MAX_VALUES:,}")


def count_values(node: Any, counts: dict[int, int]) -> int:
    """Count the values of a node with aliases expanded.

    Args:
        node: The YAML node.
        counts: The counts of the nodes visited before, by id; extended in place.
    """
    if id(node) not in counts:
        entries = node.value if isinstance(node.value, list) else []  # a scalar has text
        children = [part for item in entries for part in (item if isinstance(item, tuple) else (item,))]
        counts[id(node)] = 1 + sum(count_values(part, counts) for part in children)
    return counts[id(node)]
