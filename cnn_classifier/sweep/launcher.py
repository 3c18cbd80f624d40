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
from cnn_classifier.report.pages.leaderboard import REFRESH_SECONDS
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.worker import JobProcess, pending_jobs
from cnn_classifier.training.status import Status

POLL_SECONDS = 0.5
CORES_PER_JOB = 4  # the networks of a sweep are small: more cores than these hardly speed one up


class LocalLauncher:
    """So many jobs at a time.

    Args:
        folder: Of the sweep.
        jobs: At a time; `auto` is one a GPU, or one for every four cores.
        patience: Seconds without a sign of life after which a job is stopped.
        accelerator: As `trainer.accelerator`.

    Raises:
        ConfigError: If `jobs` is no number.
    """

    def __init__(self, sweep_dir: str | Path, *, n_jobs: int | str, timeout: float, accelerator: str) -> None:
        if n_jobs != "auto" and (not isinstance(n_jobs, int) or n_jobs < 1):
            raise ConfigError(f"hydra.launcher.n_jobs={n_jobs}: expected auto, or a number of at least 1")
        self.leaderboard, self.timeout = Leaderboard(Path(sweep_dir)), timeout
        self.slots = worker_slots(n_jobs, visible_gpus() if accelerator in ("auto", "gpu", "cuda") else [])

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """Run each job that is not done; Ctrl-C and SIGTERM stop them all, each with its checkpoint.

        Args:
            jobs: The words of each.
            first: The number of the first.

        Returns:
            How each ended, in order.
        """
        pending = pending_jobs(self.leaderboard, jobs, first)
        running: dict[int, JobProcess] = {}
        last_written = time.monotonic()
        with job_progress(len(pending)) as update_progress, terminate_on_exit(running):
            while pending or running:
                for slot in range(len(self.slots)):
                    if slot not in running and pending:
                        running[slot] = JobProcess(pending.pop(0), self.slots[slot])
                for slot, process in list(running.items()):
                    if process.has_ended(self.timeout):
                        del running[slot]
                        last_written = 0.0
                if time.monotonic() - last_written > REFRESH_SECONDS:
                    self.leaderboard.write()
                    last_written = time.monotonic()
                update_progress([process.status() for process in running.values()], len(pending))
                time.sleep(POLL_SECONDS if running else 0)
        statuses = [self.leaderboard.find_status(job) for job in jobs]
        return [status for status in statuses if status is not None]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    device_ids = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return device_ids[: torch.cuda.device_count()]


def worker_slots(n_jobs: int | str, gpu_ids: Sequence[str]) -> list[dict[str, Any]]:
    """For each job that runs at a time, its `gpu` and its `cores`."""
    cores = available_cores()
    count = int(n_jobs) if n_jobs != "auto" else len(gpu_ids) or max(1, len(cores) // CORES_PER_JOB)
    return [
        {
            "gpu": gpu_ids[index % len(gpu_ids)] if gpu_ids else None,
            "cores": cores[index::count] or [cores[index % len(cores)]],
        }
        for index in range(count)
    ]


def available_cores() -> list[int]:
    """Those that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS and Windows do not say
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


@contextmanager
def terminate_on_exit(running: dict[int, JobProcess]) -> Iterator[None]:
    """On the way out, whatever the reason, stop what is running still; SIGTERM becomes such a reason."""

    def terminate(*_: Any) -> None:
        raise SystemExit(TERMINATED_EXIT_CODE)

    previous_handler = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        for process in running.values():
            process.stop(signal.SIGINT)
        for process in running.values():
            process.wait()
        signal.signal(signal.SIGTERM, previous_handler)


@contextmanager
def job_progress(total: int) -> Iterator[Any]:
    """One line for all jobs on a terminal; elsewhere each tells its start and end alone."""
    progress_bar = tqdm(total=total, unit="job", disable=None, leave=False, file=sys.stderr)

    def update_progress(statuses: Sequence[Status | None], num_pending: int) -> None:
        descriptions = [
            f"{status.run_dir.name}: {status.epoch}/{status.max_epochs}" for status in statuses if status is not None
        ]
        progress_bar.n = total - num_pending - len(statuses)
        progress_bar.set_postfix_str(" · ".join(descriptions))

    with progress_bar:
        yield update_progress
