"""Standard output and standard error that survive the loss of their reader."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READER_ERRORS = (errno.EPIPE, errno.EIO)  # the reader of a pipe has exited, the terminal was closed


class OutputClosedError(BrokenPipeError):
    """The reader of standard output has exited, and the command has no other result."""


class OutputFile(io.RawIOBase):
    """A raw file that continues into the null device after a failed write.

    The descriptor itself is replaced, so that child processes and libraries in C do not fail either.

    Args:
        raw: The original raw file.
        stops: Whether the loss of the reader raises `OutputClosedError`.

    Attributes:
        error: The first error of a write, None if there is none.
    """

    def __init__(self, raw: io.RawIOBase, *, stops: bool) -> None:
        self.raw, self.stops = raw, stops
        self.error: OSError | None = None
        self.name = getattr(raw, "name", "")

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.raw.isatty()

    def fileno(self) -> int:
        return self.raw.fileno()

    def write(self, data: Any) -> int | None:
        try:
            return self.raw.write(data)
        except OSError as error:
            self.error = error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        if self.stops and self.error.errno in READER_ERRORS:
            raise OutputClosedError
        return len(memoryview(data).cast("B"))


@contextmanager
def robust_streams(*, stops: bool) -> Iterator[list[OutputFile]]:
    """Replace `sys.stdout` and `sys.stderr` by streams that do not raise if their reader exits.

    Args:
        stops: Whether the loss of the reader of standard output raises `OutputClosedError`.

    Yields:
        The files below the streams, without those that are already redirected within this process.
    """
    open_standard_descriptors()
    originals = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    files = []
    for name, stream in originals.items():
        if stream is None:  # the descriptor was closed when Python started
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
            continue
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if isinstance(stream, io.TextIOWrapper):  # file names may contain characters that the terminal cannot encode
            stream.reconfigure(errors="backslashreplace")
        if isinstance(stream, io.TextIOWrapper) and isinstance(raw, io.RawIOBase):
            stream.flush()
            files.append(OutputFile(raw, stops=stops and name == "stdout"))
            setattr(sys, name, copy_stream(stream, files[-1]))
    try:
        yield files
    finally:
        for file in files:
            file.stops = False
        for name, stream in originals.items():
            getattr(sys, name).flush()
            if stream is None:
                getattr(sys, name).close()
            setattr(sys, name, stream)


def copy_stream(stream: io.TextIOWrapper, file: OutputFile) -> io.TextIOWrapper:
    """Return a text stream with the settings of another one that writes to a file."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def open_standard_descriptors() -> None:
    """Open the null device for each closed standard descriptor, which the next opened file would get otherwise."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor
