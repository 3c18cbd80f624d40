"""The folders of YAML files: ours, and those of the user."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

# In a wheel the YAML is packaged; in a checkout, editable or not, it lies beside the package.
_PACKAGED = Path(__file__).parents[1] / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"


def user_config_dirs(argv: Sequence[str]) -> list[Path]:
    """The user's own configuration: the folders given with `--config-dir DIR` or `--config-dir=DIR`."""
    separate = [folder for word, folder in pairwise(argv) if word in ("--config-dir", "-cd")]
    inline = [word.partition("=")[2] for word in argv if word.startswith("--config-dir=")]
    return [Path(folder) for folder in (*separate, *inline)]
