"""Faults that a process does to itself, to happen at one exact moment; and a temporary folder elsewhere."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTS = ("fsync", "replace", "after")


def kill_within_write(name: str, count: int, point: int | str) -> None:
    """Make this process kill itself in the `count`-th write of a file: after so many bytes, or around a call."""
    opened, replace, sync = Path.open, Path.replace, os.fsync
    seen = {"count": 0, "active": False}

    class Cut:
        def __init__(self, file: Any) -> None:
            self.file, self.written = file, 0

        def __enter__(self) -> "Cut":
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
        file = opened(path, *arguments, **more)
        if path.name == f".{name}.partial":
            seen["count"] += 1
            seen["active"] = seen["count"] == count
            return Cut(file) if seen["active"] else file
        return file

    def cut(part: str, call: Any) -> Any:
        def instead(*arguments: Any) -> Any:
            if seen["active"] and point == part:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments)
            if seen["active"] and part == "replace" and point == "after":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return instead

    Path.open = counting_open  # type: ignore[assignment,method-assign]
    Path.replace = cut("replace", replace)  # type: ignore[method-assign]
    os.fsync = cut("fsync", sync)


def kill_within_copy(count: int, size: int) -> None:
    """Make this process kill itself after so many bytes of the copy that `shutil.move` makes between two disks."""
    copies = {"count": 0}
    real = shutil.copyfile

    def copyfile(source: Any, target: Any, **more: Any) -> Any:
        copies["count"] += 1
        if copies["count"] < count:
            return real(source, target, **more)
        Path(target).write_bytes(Path(source).read_bytes()[:size])
        return os.kill(os.getpid(), signal.SIGKILL)

    shutil.copyfile = copyfile  # type: ignore[assignment]


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Temporary files go there."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
    try:
        yield
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
