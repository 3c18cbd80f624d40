"""Names of a run's files, atomic writes, locks, cache directories and free space."""

import csv
import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from cnn_classifier.errors import StorageError

# The files of a run, relative to its folder.
CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
SPLIT_FILE = "split.csv"
STATUS_FILE = "status.json"
STAGES_FILE = "stages.json"
METRICS_FILE = "metrics.csv"
REPORT_JSON = "report.json"
SOURCE_FILE = "source.txt"  # a description of decoded pixels, for `cache`
REPORT_HTML = "report.html"
PREDICTIONS_FILE = "predictions.csv"
CHECKPOINT_DIR = "checkpoints"
BEST_CHECKPOINT = Path(CHECKPOINT_DIR, "best.ckpt")
LAST_CHECKPOINT = Path(CHECKPOINT_DIR, "last.ckpt")

# Prefix of an unfinished folder or cache entry; the final name follows, so that its lock can be found.
PARTIAL = ".partial-"


def cache_dir() -> Path:
    """Return the root of all caches: `CNN_CLASSIFIER_HOME` if it is set, otherwise the user's cache directory."""
    env_dir = os.environ.get("CNN_CLASSIFIER_HOME")
    return Path(env_dir).expanduser() if env_dir else platformdirs.user_cache_path("cnn_classifier")


def atomic_write(path: Path, *chunks: bytes | bytearray, sync: bool = True) -> None:
    """Write a file atomically: readers see either the previous content or all of the new content.

    Args:
        path: The file to write. Missing parent folders are created.
        *chunks: The content of the file, concatenated in order.
        sync: Whether to wait until the data is on the disk, so that a power failure does not lose the file.

    Raises:
        StorageError: If the file cannot be written; a previous file is unchanged.
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
            f"Cannot write {path} ({size:,} bytes): {error.strerror}. A previous file is unchanged. "
            "Free space there or choose another folder."
        ) from error


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that is renamed to `path` if the block succeeds.

    The partial folder is deleted if the block raises, or by the next call if the process is killed. Hold
    `file_lock(path)` around the block if several processes may create the same folder.

    Args:
        path: The folder to create. Missing parents are created, and an empty folder at this path is replaced.

    Raises:
        StorageError: If the folder cannot be written, including any `OSError` of the block, or if `path` is not empty.
    """
    ensure_writable_dir(path.parent)
    partial = path.with_name(f"{PARTIAL}{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        if path.exists():  # Windows does not rename onto an existing folder, even an empty one
            path.rmdir()
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"Cannot write {path}: {reason}. Free space there or choose another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fsync_dir(folder: Path) -> None:
    """Wait until new names in a folder are on the disk; Windows and some file systems do not support or need this."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        with suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON atomically; raise `StorageError` if that fails."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(path, text.encode(errors="surrogateescape"), sync=False)


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV atomically; raise `StorageError` if that fails. Names that are not UTF-8 keep their bytes."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    atomic_write(path, text.getvalue().encode(errors="surrogateescape"), sync=False)


def check_free_space(folder: Path, required_bytes: int, hint: str) -> None:
    """Raise `StorageError` if the disk of a folder has fewer free bytes than required."""
    free = shutil.disk_usage(folder).free
    if required_bytes > free:
        raise StorageError(f"{folder} has {free:,} bytes free, but {required_bytes:,} are required. {hint}")


def ensure_writable_dir(folder: Path) -> Path:
    """Create a folder if it is missing and return it; raise `StorageError` if it cannot be created or written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot create {folder}: {error.strerror}. Choose another folder.") from error
    if not os.access(folder, os.W_OK):
        raise StorageError(f"{folder} is not writable. Choose another folder or change its permissions.")
    return folder


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock against other processes that create `path`; it is released even if this process is killed."""
    lock = FileLock(lock_path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another run that is creating {path}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_path(path: Path) -> Path:
    """Return the lock file of `path`, which may also be its partial folder or the lock file itself."""
    return path.with_name(f"{path.name.removeprefix(PARTIAL).removesuffix('.lock')}.lock")


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of `path`, or the lock file cannot be opened."""
    lock = lock_path(path)
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except OSError:  # includes filelock's `Timeout`
        return True


def remove_stale_partials(folder: Path) -> None:
    """Delete the partial entries in a folder whose processes were killed."""
    for partial in folder.glob(f"{PARTIAL}*"):
        if not is_locked(partial):
            shutil.rmtree(partial, ignore_errors=True)


def display_path(path: Path) -> Path:
    """Return a path relative to the current directory if it lies below it; otherwise return it unchanged."""
    absolute_path = path.absolute()
    return absolute_path.relative_to(Path.cwd()) if absolute_path.is_relative_to(Path.cwd()) else path


def remove_if_empty(folder: Path) -> None:
    """Remove a folder and its parents, up to the current directory, as long as they are empty."""
    cwd = Path.cwd()
    for candidate in (folder, *folder.parents):
        if candidate == cwd or candidate in cwd.parents or (candidate != folder and cwd not in candidate.parents):
            return
        try:
            candidate.rmdir()
        except OSError:
            return
