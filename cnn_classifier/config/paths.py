"""The directories of YAML files: `conf/` and those of the user."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

# In a wheel, `conf/` is part of the package; in a checkout, it is next to the package.
_PACKAGED = Path(__file__).parents[1] / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"


def user_config_dirs(argv: Sequence[str]) -> list[Path]:
    """Return the directories given with `--config-dir DIR`, `-cd DIR` or `--config-dir=DIR`."""
    separate = [value for option, value in pairwise(argv) if option in ("--config-dir", "-cd")]
    inline = [argument.partition("=")[2] for argument in argv if argument.startswith("--config-dir=")]
    return [Path(folder) for folder in (*separate, *inline)]
