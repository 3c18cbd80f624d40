"""Optuna's journal, which outlives writers that are killed in the middle of a line."""

import os
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock


class JournalBackend(JournalFileBackend):
    """A file of one entry a line.

    Optuna reads past half a line at the file's end, but adds the next entry to it, and then reads no more.

    Args:
        path: Of the file.
    """

    def __init__(self, path: str) -> None:
        # Links are kept to administrators on Windows.
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
        """Cut off what a writer left that did not come to its line's end."""
        with open(self.path, "rb+") as file:  # noqa: PTH123
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end != len(content):
                file.truncate(end)
