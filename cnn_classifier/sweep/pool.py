"""Several jobs of a sweep at a time, each a process of its own: one that is killed takes nothing else with it."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cnn_classifier.errors import TERMINATED_EXIT_CODE, ConfigError
from cnn_classifier.report.leaderboard_page import REFRESH
from cnn_classifier.status import Status
from cnn_classifier.sweep.child import Child
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.planned import plan

SECONDS_BETWEEN_LOOKS = 0.5
CORES_A_JOB = 4  # the networks of a sweep are small: more cores than these hardly speed one up


class Pool:
    """So many jobs at a time.

    Args:
        folder: Of the sweep.
        jobs: At a time; `auto` is one a GPU, or one for every four cores.
        patience: Seconds without a sign of life after which a job is stopped.
        accelerator: As `trainer.accelerator`.

    Raises:
        ConfigError: If `jobs` is no number.
    """

    def __init__(self, folder: str | Path, *, jobs: int | str, patience: float, accelerator: str) -> None:
        if jobs != "auto" and (not isinstance(jobs, int) or jobs < 1):
            raise ConfigError(f"hydra.launcher.jobs={jobs}: expected auto, or a number of at least 1")
        self.board, self.patience = Leaderboard(Path(folder)), patience
        self.places = places(jobs, gpus() if accelerator in ("auto", "gpu", "cuda") else [])

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """Run each job that is not done; Ctrl-C and SIGTERM stop them all, each with its checkpoint.

        Args:
            jobs: The words of each.
            first: The number of the first.

        Returns:
            How each ended, in order.
        """
        waiting = plan(self.board, jobs, first)
        running: dict[int, Child] = {}
        written = time.monotonic()
        with showing(len(waiting)) as show, stopping(running):
            while waiting or running:
                for place in range(len(self.places)):
                    if place not in running and waiting:
                        running[place] = Child(waiting.pop(0), self.places[place])
                for place, child in list(running.items()):
                    if child.has_ended(self.patience):
                        del running[place]
                        written = 0.0
                if time.monotonic() - written > REFRESH:
                    self.board.write()
                    written = time.monotonic()
                show([child.status() for child in running.values()], len(waiting))
                time.sleep(SECONDS_BETWEEN_LOOKS if running else 0)
        found = [self.board.find(job) for job in jobs]
        return [status for status in found if status is not None]


def gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]


def places(jobs: int | str, gpus: Sequence[str]) -> list[dict[str, Any]]:
    """For each job that runs at a time, its `gpu` and its `cores`."""
    cores = own_cores()
    count = int(jobs) if jobs != "auto" else len(gpus) or max(1, len(cores) // CORES_A_JOB)
    return [
        {
            "gpu": gpus[place % len(gpus)] if gpus else None,
            "cores": cores[place::count] or [cores[place % len(cores)]],
        }
        for place in range(count)
    ]


def own_cores() -> list[int]:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows do not say
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


@contextmanager
def stopping(running: dict[int, Child]) -> Iterator[None]:
    """On the way out, whatever the reason, stop what is running still; SIGTERM becomes such a reason."""

    def terminate(*_: Any) -> None:
        raise SystemExit(TERMINATED_EXIT_CODE)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        for child in running.values():
            child.stop(signal.SIGINT)
        for child in running.values():
            child.wait()
        signal.signal(signal.SIGTERM, before)


@contextmanager
def showing(total: int) -> Iterator[Any]:
    """One line for all jobs on a terminal; elsewhere each tells its start and end alone."""
    bar = tqdm(total=total, unit="job", disable=None, leave=False, file=sys.stderr)

    def show(statuses: Sequence[Status | None], waiting: int) -> None:
        told = [f"{s.run_dir.name}: {s.epoch}/{s.max_epochs}" for s in statuses if s is not None]
        bar.n = total - waiting - len(statuses)
        bar.set_postfix_str(" · ".join(told))

    with bar:
        yield show
