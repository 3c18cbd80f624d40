"""Faults that a process does to itself, to happen at one exact moment; and a temporary folder elsewhere."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KILL_POINTS = ("fsync", "replace", "after")


def kill_within_write(name: str, count: int, point: int | str) -> None:
    """Make this process kill itself in the `count`-th write of a file: after so many bytes, or around a call."""
    original_open, original_replace, original_fsync = Path.open, Path.replace, os.fsync
    state = {"count": 0, "active": False}

    class TruncatedFile:
        def __init__(self, file: Any) -> None:
            self.file, self.written = file, 0

        def __enter__(self) -> "TruncatedFile":
            return self

        def __exit__(self, *raised: Any) -> None:
            self.file.close()

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.file, attribute)

        def write(self, data: bytes) -> int:
            if isinstance(point, int) and self.written + len(data) > point:
                self.file.write(data[: point - self.written])
                self.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            self.written += len(data)
            return int(self.file.write(data))

    def counting_open(path: Path, *arguments: Any, **more: Any) -> Any:
        file = original_open(path, *arguments, **more)
        if path.name == f".{name}.partial":
            state["count"] += 1
            state["active"] = state["count"] == count
            return TruncatedFile(file) if state["active"] else file
        return file

    def kill_around(name_of_call: str, call: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            if state["active"] and point == name_of_call:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments)
            if state["active"] and name_of_call == "replace" and point == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapper

    Path.open = counting_open  # type: ignore[assignment,method-assign]
    Path.replace = kill_around("replace", original_replace)  # type: ignore[method-assign]
    os.fsync = kill_around("fsync", original_fsync)


def kill_within_copy(count: int, size: int) -> None:
    """Make this process kill itself after so many bytes of the copy that `shutil.move` makes between two disks."""
    state = {"count": 0}
    original_copyfile = shutil.copyfile

    def copyfile(source: Any, target: Any, **more: Any) -> Any:
        state["count"] += 1
        if state["count"] < count:
            return original_copyfile(source, target, **more)
        Path(target).write_bytes(Path(source).read_bytes()[:size])
        return os.kill(os.getpid(), signal.SIGKILL)

    shutil.copyfile = copyfile  # type: ignore[assignment]


@contextmanager
def use_temp_dir(folder: Path) -> Iterator[None]:
    """Temporary files go there."""
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
