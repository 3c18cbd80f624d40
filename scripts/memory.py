"""The memory of a process and all it starts, as Linux counts it: what is shared between them counts once."""

import re
import threading
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.2  # between two looks


class PeakMemory(threading.Thread):
    """Watches a process and its children until `stop`; `megabytes` is the most that they held at once.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.megabytes, self.stopped = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(POLL_SECONDS):
            self.megabytes = max(self.megabytes, sum(map(get_pss_megabytes, get_process_tree(self.pid))))

    def stop(self) -> float:
        self.stopped.set()
        self.join()
        return self.megabytes


def get_process_tree(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    pids = [pid]
    for member in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def get_pss_megabytes(pid: int) -> float:
    """The proportional set size in megabytes; 0 once it is gone, or where there is no /proc."""
    with suppress(OSError):
        match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(match[1]) / 1000 if match else 0.0
    return 0.0
