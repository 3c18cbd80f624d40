"""Where things are kept between runs, and how a file is written whole or not at all."""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import platformdirs

from cnn_classifier.errors import StorageError

# In a wheel the YAML is packaged; in a checkout, editable or not, it lies beside the package.
_PACKAGED = Path(__file__).parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"


def user_config_dirs(argv: Sequence[str]) -> list[Path]:
    """The user's own configuration: the folders given with `--config-dir DIR` or `--config-dir=DIR`."""
    separate = [folder for word, folder in pairwise(argv) if word in ("--config-dir", "-cd")]
    inline = [word.partition("=")[2] for word in argv if word.startswith("--config-dir=")]
    return [Path(folder) for folder in (*separate, *inline)]


def cache_dir() -> Path:
    """The folder for decoded images and embedded data: `CNN_CLASSIFIER_HOME`, or the user's cache folder."""
    env_dir = os.environ.get("CNN_CLASSIFIER_HOME")
    return Path(env_dir).expanduser() if env_dir else platformdirs.user_cache_path("cnn_classifier")


def atomic_write(path: Path, *chunks: bytes | bytearray, sync: bool = True) -> None:
    """Write a file of which nobody ever sees half, whatever stops this process or the machine.

    Its folder is made if it is gone. A partial file that an earlier try left behind is written over.

    Args:
        path: The file.
        parts: Its bytes.
        sync: Whether to wait until the disk has them: a power cut then leaves the old file or the new one.

    Raises:
        StorageError: If that is not possible; what was there before is there yet.
    """
    partial = path.with_name(f".{path.name}.partial")
    size = sum(map(len, chunks))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if sync:
            fsync_dir(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written ({error.strerror}, {size:,} bytes); what was there before is unchanged; "
            "free space there or choose another folder"
        ) from error


def fsync_dir(folder: Path) -> None:
    """Wait until the disk knows a folder's new names; Windows and some file systems do so by themselves."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, text.encode(errors="surrogateescape"), sync=False)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV; names that are no UTF-8 keep their bytes.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    atomic_write(path, text.getvalue().encode(errors="surrogateescape"), sync=False)


def check_free_space(folder: Path, required_bytes: int, hint: str) -> None:
    """Raise StorageError if the disk of a folder has fewer bytes free than needed."""
    free = shutil.disk_usage(folder).free
    if required_bytes > free:
        raise StorageError(f"{folder}: {required_bytes:,} bytes are needed, {free:,} are free; {hint}")


def ensure_writable_dir(folder: Path) -> Path:
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
