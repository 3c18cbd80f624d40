"""One run at a time makes what all runs share; the others wait, and say so."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` against other processes, which may be making it; the operating system lets go of a killed one's."""
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"waiting for another run that is making {path}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
