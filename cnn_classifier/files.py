"""Where things are kept between runs, and how a file is written whole or not at all."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from cnn_classifier.errors import StorageError

# How the name of a folder begins that is not finished; the rest is what it will be called, or what its lock is.
PARTIAL = ".partial-"
BEST_CHECKPOINT = Path("checkpoints", "best.ckpt")
LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")


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


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold `path` against other processes, which may be making it; the operating system lets go of a killed one's."""
    lock = FileLock(lock_path(path))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another run that is making {path}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_path(path: Path) -> Path:
    """The file that is locked while `path` or its partial is made."""
    return path.with_name(f"{path.name.removeprefix(PARTIAL).removesuffix('.lock')}.lock")


def is_locked(path: Path) -> bool:
    """Whether a run is making this now."""
    lock = lock_path(path)
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except OSError:  # of its timeout too; another user's, that we may not open, is better left alone
        return True


def remove_stale_partials(folder: Path) -> None:
    """Delete what runs that were killed have left half made in a folder."""
    for partial in folder.glob(f"{PARTIAL}*"):
        if not is_locked(partial):
            shutil.rmtree(partial, ignore_errors=True)


def dataset_cache_dir(name: str, *key: str) -> Path:
    """The folder of a source: its name is readable, and no other key has it."""
    slug = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60]
    digest = hashlib.sha256(chr(0).join(key).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "datasets" / f"{slug}-{digest[:12]}"


def file_fingerprint(path: Path) -> list[str]:
    """The key of a local file: another path, size or time of change is another source."""
    stat_result = path.stat()
    return [str(path.resolve()), str(stat_result.st_size), str(stat_result.st_mtime_ns)]
