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


def own_folders(words: Sequence[str]) -> list[Path]:
    """The user's own configuration: the folders given with `--config-dir DIR` or `--config-dir=DIR`."""
    apart = [folder for word, folder in pairwise(words) if word in ("--config-dir", "-cd")]
    joined = [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]
    return [Path(folder) for folder in (*apart, *joined)]


def cache_home() -> Path:
    """The folder for decoded images and embedded data: `CNN_CLASSIFIER_HOME`, or the user's cache folder."""
    chosen = os.environ.get("CNN_CLASSIFIER_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("cnn_classifier")


def write_whole(path: Path, *parts: bytes | bytearray, sync: bool = True) -> None:
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
    size = sum(map(len, parts))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path} cannot be written ({error.strerror}, {size:,} bytes); what was there before is unchanged; "
            "free space there or choose another folder"
        ) from error


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows a folder's new names; Windows and some file systems do so by themselves."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(opened)
        os.close(opened)


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode(errors="surrogateescape"), sync=False)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV; names that are no UTF-8 keep their bytes.

    Raises:
        StorageError: If the file cannot be written.
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    write_whole(path, text.getvalue().encode(errors="surrogateescape"), sync=False)


def require_space(folder: Path, needed: int, way_out: str) -> None:
    """Raise StorageError if the disk of a folder has fewer bytes free than needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed:,} bytes are needed, {free:,} are free; {way_out}")


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
