"""Signal handling: save a checkpoint and exit at the next step on SIGINT, SIGTERM, SIGHUP and preemption signals."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnn_classifier.errors import TERMINATED_EXIT_CODE

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
HANGUP = getattr(signal, "SIGHUP", None)  # the terminal was closed; `nohup` ignores it; Windows does not have it
# SLURM and other schedulers send these before they kill a job, to one process or to all. Windows has neither.
PREEMPTION_SIGNALS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class SignalHandler:
    """Handlers that store the first signal, so that the training loop can stop after a step.

    A second SIGINT or SIGTERM stops the process immediately.

    Attributes:
        received: The number of the first signal, None if there is none.
        handlers: The previous handler of each signal number.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.handlers: dict[int, Any] = {}

    def install(self) -> None:
        """Install the handlers. Python allows this in the main thread only; in other threads, do nothing."""
        if threading.current_thread() is threading.main_thread() and not self.handlers:
            signals = (*STOP_SIGNALS, *PREEMPTION_SIGNALS, *handled_hangup())
            self.handlers = {signum: signal.signal(signum, self.receive) for signum in signals}

    def restore(self) -> None:
        """Restore the previous handlers."""
        for signum, handler in self.handlers.items():
            signal.signal(signum, handler)
        self.handlers = {}

    def receive(self, signum: int, frame: FrameType | None = None) -> None:
        """Store the first signal; raise its exception on a second SIGINT or SIGTERM."""
        if signum in PREEMPTION_SIGNALS and self.received is not None:
            return
        if self.received is not None:
            raise exception_for(signum)
        self.received = signum
        print("\nSaving a checkpoint, then stopping. Press Ctrl-C again to stop immediately.", file=sys.stderr)

    def raise_if_received(self) -> None:
        """Raise KeyboardInterrupt or SystemExit if a signal was received."""
        if self.received is not None:
            raise exception_for(self.received)


def exception_for(signum: int) -> BaseException:
    """Return `KeyboardInterrupt` for SIGINT, and `SystemExit` with the exit code of SIGTERM for all others."""
    return KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(TERMINATED_EXIT_CODE)


def handled_hangup() -> tuple[int, ...]:
    """Return SIGHUP, unless it is ignored."""
    return (HANGUP,) if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN else ()


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Raise `SystemExit` on SIGTERM and SIGHUP within this context, so that open files and processes are closed."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise exception_for(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {signum: signal.signal(signum, handler) for signum in (signal.SIGTERM, *handled_hangup())}
    try:
        yield
    finally:
        for signum, previous_handler in previous.items():
            signal.signal(signum, previous_handler)
