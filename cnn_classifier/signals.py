"""Ctrl-C and SIGTERM: a training that is told to stop ends at its next step, with all that it has learnt."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cnn_classifier.errors import TERMINATED_EXIT_CODE

TOLD_TO_STOP = (signal.SIGINT, signal.SIGTERM)
# What SLURM and other schedulers send some time before they kill, to one process or to all; Windows has neither.
NOTICES = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class Signals:
    """Remembers the first signal for whoever asks; a second Ctrl-C or SIGTERM stops the process where it is."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.handlers: dict[int, Any] = {}

    def listen(self) -> None:
        """Take over; only the main thread of a process may."""
        if threading.current_thread() is threading.main_thread() and not self.handlers:
            self.handlers = {number: signal.signal(number, self.receive) for number in (*TOLD_TO_STOP, *NOTICES)}

    def leave(self) -> None:
        """Give back what was there before."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        if number in NOTICES and self.received is not None:
            return
        if self.received is not None:
            raise exit_of(number)
        self.received = number
        print("\nstopping once this step is saved; again to stop at once", file=sys.stderr)

    def stop_if_told(self) -> None:
        """Raise KeyboardInterrupt or SystemExit if a signal was received."""
        if self.received is not None:
            raise exit_of(self.received)


def exit_of(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(TERMINATED_EXIT_CODE)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end what runs as Ctrl-C does, so that whatever is open is closed."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise exit_of(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
