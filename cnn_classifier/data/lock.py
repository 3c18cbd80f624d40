"""One run at a time makes what all runs share; the others wait, and say so."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

# How the name of a folder begins that is not finished; the rest is what it will be called, or what its lock is.
PARTIAL = ".partial-"


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
