"""Ctrl-C and SIGTERM: a training that is told to stop ends at its next step, with all that it has learnt."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnn_classifier.errors import TERMINATED_EXIT_CODE

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What SLURM and other schedulers send some time before they kill, to one process or to all; Windows has neither.
PREEMPTION_SIGNALS = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class SignalHandler:
    """Remembers the first signal for whoever asks; a second Ctrl-C or SIGTERM stops the process where it is."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.handlers: dict[int, Any] = {}

    def install(self) -> None:
        """Take over; only the main thread of a process may."""
        if threading.current_thread() is threading.main_thread() and not self.handlers:
            self.handlers = {
                signum: signal.signal(signum, self.receive) for signum in (*STOP_SIGNALS, *PREEMPTION_SIGNALS)
            }

    def restore(self) -> None:
        """Give back what was there before."""
        for signum, handler in self.handlers.items():
            signal.signal(signum, handler)
        self.handlers = {}

    def receive(self, signum: int, frame: FrameType | None = None) -> None:
        if signum in PREEMPTION_SIGNALS and self.received is not None:
            return
        if self.received is not None:
            raise exception_for(signum)
        self.received = signum
        print("\nstopping once this step is saved; again to stop at once", file=sys.stderr)

    def raise_if_received(self) -> None:
        """Raise KeyboardInterrupt or SystemExit if a signal was received."""
        if self.received is not None:
            raise exception_for(self.received)


def exception_for(signum: int) -> BaseException:
    return KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(TERMINATED_EXIT_CODE)


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end what runs as Ctrl-C does, so that whatever is open is closed."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise exception_for(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
