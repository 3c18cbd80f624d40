"""A launcher that runs several sweep jobs at a time on this machine, each in its own process."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnn_classifier.errors import TERMINATED_EXIT_CODE, ConfigError
from cnn_classifier.progress import progress_bar
from cnn_classifier.report.pages.leaderboard import REFRESH_SECONDS
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.worker import JobProcess, pending_jobs
from cnn_classifier.training.status import Status

POLL_SECONDS = 0.5
CORES_PER_JOB = 4  # the networks of a sweep are small: more cores hardly speed up one job


class LocalLauncher:
    """A launcher that runs `n_jobs` jobs at a time.

    Args:
        sweep_dir: The sweep directory.
        n_jobs: The number of jobs that run at a time; `auto` is one per GPU, or without GPUs one per four cores.
        timeout: The number of seconds without output after which a job is stopped.
        accelerator: The value of `trainer.accelerator`.

    Raises:
        ConfigError: If `n_jobs` is neither `auto` nor a positive integer.
    """

    def __init__(self, sweep_dir: str | Path, *, n_jobs: int | str, timeout: float, accelerator: str) -> None:
        if n_jobs != "auto" and (not isinstance(n_jobs, int) or n_jobs < 1):
            raise ConfigError(f"hydra.launcher.n_jobs={n_jobs} is invalid: expected auto or an integer of at least 1")
        self.leaderboard, self.timeout = Leaderboard(Path(sweep_dir)), timeout
        self.slots = worker_slots(n_jobs, visible_gpus() if accelerator in ("auto", "gpu", "cuda") else [])

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """Run the unfinished jobs; on Ctrl-C or SIGTERM, each running job saves a checkpoint and stops.

        Args:
            jobs: The overrides of each job.
            first: The number of the first job.

        Returns:
            The final statuses of the jobs, in order.
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
    """Return the ids of the GPUs that this process may use, as in `CUDA_VISIBLE_DEVICES`."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    device_ids = visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
    return device_ids[: torch.cuda.device_count()]


def worker_slots(n_jobs: int | str, gpu_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Return the resources of each concurrent job: `gpu`, a device id or None, and `cores`, a list of core numbers.

    Args:
        n_jobs: The number of concurrent jobs, or `auto`.
        gpu_ids: The ids of the available GPUs; jobs share them in turn if there are fewer GPUs than jobs.
    """
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
    """Return the numbers of the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not available on macOS and Windows
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


@contextmanager
def terminate_on_exit(running: dict[int, JobProcess]) -> Iterator[None]:
    """Stop the jobs that are still running when the context exits; SIGTERM raises `SystemExit` inside it."""

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
    """Show one progress bar for all jobs on a terminal, and nothing elsewhere."""
    bar = progress_bar(total=total, unit="job", file=sys.stderr)

    def update_progress(statuses: Sequence[Status | None], num_pending: int) -> None:
        descriptions = [
            f"{status.run_dir.name}: {status.epoch}/{status.max_epochs}" for status in statuses if status is not None
        ]
        bar.n = total - num_pending - len(statuses)
        bar.set_postfix_str(" · ".join(descriptions))

    with bar:
        yield update_progress
