"""Where things are kept between runs, and how a file is written whole or not at all."""

import csv
import json
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import platformdirs

from cnn_classifier.errors import StorageError

# In a wheel the YAML is packaged; in a checkout, editable or not, it lies beside the package.
_PACKAGED = Path(__file__).parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"


def own_folders(words: Sequence[str]) -> list[Path]:
    """The user's own configuration: the folders given with `--config-dir DIR` or `--config-dir=DIR`."""
    apart = [folder for word, folder in pairwise(words) if word in ("--config-dir", "-cd")]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return [Path(folder) for folder in (*apart, *joined)]


def cache_home() -> Path:
    """The folder for decoded images and embedded data: `CNN_CLASSIFIER_HOME`, or the user's cache folder."""
    chosen = os.environ.get("CNN_CLASSIFIER_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("cnn_classifier")


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON; a reader never sees half of it."""
    partial = path.with_name(f".{path.name}.partial")
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    partial.write_text(text, encoding="utf-8", errors="surrogateescape")
    partial.replace(path)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV; names that are no UTF-8 keep their bytes.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}); choose another file") from error


def make_folder(folder: Path) -> Path:
    """Create a folder that we are about to write into.

    Raises:
        StorageError: If it cannot be created or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be created ({error.strerror}); choose another folder") from error
    if not os.access(folder, os.W_OK):
        raise StorageError(f"{folder} cannot be written; choose another folder or change its permissions")
    return folder
