"""A journal file for Optuna studies that survives killed processes."""

import os
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock


class JournalBackend(JournalFileBackend):
    """A journal file with one entry per line, robust to a partial last line.

    Optuna ignores a partial last line when it reads, but appends the next entry to it, which makes that line and
    everything after it unreadable.

    Args:
        path: The path of the file.
    """

    def __init__(self, path: str) -> None:
        # On Windows, symbolic links require administrator rights.
        self.path, self.lock = path, (JournalFileOpenLock if os.name == "nt" else JournalFileSymlinkLock)(path)
        super().__init__(path, self.lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.lock.acquire()
        try:
            self.truncate_partial_line()
        finally:
            self.lock.release()
        super().append_logs(logs)

    def truncate_partial_line(self) -> None:
        """Remove a partial last line that a killed process left."""
        with open(self.path, "rb+") as file:  # noqa: PTH123
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end != len(content):
                file.truncate(end)
