"""Functions that make the current process kill itself at an exact point of a file operation."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KILL_POINTS = ("fsync", "replace", "after")


class KillingFile:
    """A file that kills this process once more than `size` bytes are written.

    Args:
        file: The file to write to.
        size: The number of bytes that are written before the kill.
    """

    def __init__(self, file: Any, size: int) -> None:
        self.file, self.size, self.written = file, size, 0

    def __enter__(self) -> "KillingFile":
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        if self.written + len(data) > self.size:
            self.file.write(data[: self.size - self.written])
            self.file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self.written += len(data)
        return int(self.file.write(data))


def kill_during_file_write(name: str, count: int, point: int | str) -> None:
    """Make this process kill itself during an atomic write.

    Args:
        name: The name of the file.
        count: The number of the write, counted from 1.
        point: When to kill: after this number of bytes, before `fsync` or `replace`, or `after` the replace.
    """
    original_open, original_replace, original_fsync = Path.open, Path.replace, os.fsync
    state = {"count": 0, "active": False}

    def counting_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        file = original_open(path, *args, **kwargs)
        if path.name == f".{name}.partial":
            state["count"] += 1
            state["active"] = state["count"] == count
            return KillingFile(file, point) if state["active"] and isinstance(point, int) else file
        return file

    def kill_around(function_name: str, function: Any) -> Any:
        def wrapper(*args: Any) -> Any:
            if state["active"] and point == function_name:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args)
            if state["active"] and function_name == "replace" and point == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapper

    Path.open = counting_open  # type: ignore[assignment,method-assign]
    Path.replace = kill_around("replace", original_replace)  # type: ignore[method-assign]
    os.fsync = kill_around("fsync", original_fsync)


def kill_during_copy(count: int, size: int) -> None:
    """Make this process kill itself during the copy that `shutil.move` makes between two disks.

    Args:
        count: The number of the copy, counted from 1.
        size: The number of bytes to copy before the kill.
    """
    state = {"count": 0}
    original_copyfile = shutil.copyfile

    def copyfile(source: Any, target: Any, **kwargs: Any) -> Any:
        state["count"] += 1
        if state["count"] < count:
            return original_copyfile(source, target, **kwargs)
        Path(target).write_bytes(Path(source).read_bytes()[:size])
        return os.kill(os.getpid(), signal.SIGKILL)

    shutil.copyfile = copyfile  # type: ignore[assignment]


@contextmanager
def use_temp_dir(folder: Path) -> Iterator[None]:
    """Use a folder for temporary files inside the context."""
    previous = os.environ.get("TMPDIR")
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
    try:
        yield
    finally:
        tempfile.tempdir = None
        if previous is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = previous
