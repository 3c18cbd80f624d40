"""Peak memory of a process tree on Linux; shared memory is counted once."""

import re
import threading
from contextlib import suppress
from pathlib import Path

POLL_SECONDS = 0.2


class PeakMemory(threading.Thread):
    """A thread that samples the memory of a process and its descendants; `megabytes` is the maximum so far.

    Args:
        pid: The id of the process.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.megabytes, self.stopped = pid, 0.0, threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopped.wait(POLL_SECONDS):
            self.megabytes = max(self.megabytes, sum(map(get_pss_megabytes, get_process_tree(self.pid))))

    def stop(self) -> float:
        """Stop sampling and return the maximum in megabytes."""
        self.stopped.set()
        self.join()
        return self.megabytes


def get_process_tree(pid: int) -> list[int]:
    """Return the ids of a process and all its descendants."""
    pids = [pid]
    for member in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{member}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return pids


def get_pss_megabytes(pid: int) -> float:
    """Return the proportional set size of a process in megabytes; 0 if it has ended or /proc does not exist."""
    with suppress(OSError):
        match = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(match[1]) / 1000 if match else 0.0
    return 0.0
