"""Sweep jobs that run in separate processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cnn_classifier.config.overrides import quote_override
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.config.yaml_files import user_config_dirs
from cnn_classifier.errors import INTERNAL_EXIT_CODE, INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE
from cnn_classifier.files import STATUS_FILE, ensure_writable_dir
from cnn_classifier.sweep.leaderboard import RESUME_OVERRIDE, Leaderboard, can_resume, format_skipped, job_overrides
from cnn_classifier.training.status import (
    DONE,
    FAILED,
    FINISHED,
    INTERRUPTED,
    KILLED,
    RUNNING,
    Status,
    read_status,
)

LOG_NAME = "train.log"
STOP_TIMEOUT_SECONDS = 60.0  # time to write a checkpoint before the process is killed


@dataclass(frozen=True)
class PendingJob:
    """A job that has not started.

    Args:
        run_dir: The run directory of the job.
        overrides: The command-line overrides of the job.
        resume: Whether the job resumes from its last checkpoint.
        config_dirs: The user's config directories.
    """

    run_dir: Path
    overrides: Sequence[str]
    resume: bool
    config_dirs: Sequence[Path]

    def build_command(self) -> list[str]:
        """Return the command that runs this job."""
        return [
            *[sys.executable, "-m", "cnn_classifier", "train"],
            *(f"--config-dir={config_dir}" for config_dir in self.config_dirs),
            *self.overrides,
            f"run_dir={quote_override(self.run_dir)}",
            f"sweep.name={quote_override(self.run_dir.parent.name)}",
            *(["resume=auto"] if self.resume else []),
        ]


def pending_jobs(leaderboard: Leaderboard, jobs: Sequence[Sequence[str]], first: int) -> list[PendingJob]:
    """Return the jobs that are neither finished nor running in another process.

    Args:
        leaderboard: The leaderboard of the sweep.
        jobs: The overrides of each job.
        first: The number of the first job.
    """
    leaderboard.redact()
    pending = []
    for job_number, overrides in enumerate(jobs, first):
        previous_status = leaderboard.find_status(overrides)
        if previous_status is not None and previous_status.state in (*FINISHED, RUNNING):
            print(format_skipped(previous_status, overrides))
            continue
        run_dir = (
            leaderboard.next_free_dir(leaderboard.sweep_dir / str(job_number))
            if previous_status is None
            else previous_status.run_dir
        )
        resume = previous_status is not None and can_resume(previous_status)
        run_overrides = [override for override in overrides if not override.startswith(RESUME_OVERRIDE)]
        pending.append(PendingJob(run_dir, run_overrides, resume, user_config_dirs(sys.argv)))
    return pending


class JobProcess:
    """The process of a running job; its output goes to `train.log`.

    Args:
        job: The job to run.
        slot: The resources of the process: `cores`, a list of core numbers, and `gpu`, a device id or None.
    """

    def __init__(self, job: PendingJob, slot: Mapping[str, Any]) -> None:
        self.run_dir, self.overrides, self.timeout_message = job.run_dir, list(job.overrides), ""
        env = dict(os.environ) | {"OMP_NUM_THREADS": str(len(slot["cores"]))}
        if slot["gpu"] is not None:
            env["CUDA_VISIBLE_DEVICES"] = slot["gpu"]
        ensure_writable_dir(self.run_dir)
        self.previous_status = read_status(self.run_dir)  # to detect a job that ends before it writes a status
        with (self.run_dir / LOG_NAME).open("ab") as log:
            # In a new session the terminal does not send Ctrl-C to the job; the launcher sends it once.
            self.process = subprocess.Popen(
                job.build_command(), stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, slot["cores"])
        self.start_time = time.monotonic()
        tqdm.write(f"{self.run_dir}: {' '.join(redact_overrides(self.overrides))}")

    def has_ended(self, timeout: float) -> bool:
        """Return whether the job has ended; stop it first if it wrote nothing for `timeout` seconds."""
        if self.process.poll() is None:
            if self.seconds_since_output() < timeout:
                return False
            self.timeout_message = f"stopped: no output for {timeout / 60:g} minutes"
            self.stop(signal.SIGTERM)
        self.wait()
        return True

    def status(self) -> Status | None:
        """Return the current status of the job; None if it has not written one."""
        return read_status(self.run_dir)

    def seconds_since_output(self) -> float:
        """Return the seconds since the job last wrote its status or log, or since its start."""
        mtimes = [
            path.stat().st_mtime for path in (self.run_dir / STATUS_FILE, self.run_dir / LOG_NAME) if path.exists()
        ]
        return min(time.monotonic() - self.start_time, time.time() - max(mtimes, default=0.0))

    def stop(self, signum: int) -> None:
        """Send the process a signal; on Windows, terminate it."""
        if os.name == "nt":
            self.process.terminate()  # Windows cannot send signals to another process group
        else:
            self.process.send_signal(signum)

    def wait(self) -> None:
        """Wait for the process to end, and write a final status if the job did not write one itself."""
        try:
            return_code = self.process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return_code = self.process.wait()
        status = read_status(self.run_dir)
        if self.timeout_message or status is None or status.state == KILLED or status == self.previous_status:
            message = self.timeout_message or self.failure_reason(return_code)
            last_status = status or Status(run_dir=self.run_dir, overrides=job_overrides(self.overrides))
            was_interrupted = return_code in (INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE)
            state = KILLED if self.timeout_message or return_code < 0 else INTERRUPTED if was_interrupted else FAILED
            exit_code = 128 - return_code if return_code < 0 else return_code or INTERNAL_EXIT_CODE  # as in a shell
            replace(last_status, state=state, exit_code=exit_code, message=message).write()
            status = read_status(self.run_dir)
        if status is not None:
            accuracy = "" if status.val_accuracy is None else f"val accuracy {status.val_accuracy:.4f}"
            tqdm.write(f"{self.run_dir}: {status.state}  {accuracy if status.state == DONE else status.message}")

    def failure_reason(self, return_code: int) -> str:
        """Return why the process ended: its signal, its last logged error, or its exit code."""
        if return_code < 0:
            return f"ended by signal {-return_code} ({signal.Signals(-return_code).name})"
        lines = (self.run_dir / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else f"ended with exit code {return_code}, see {LOG_NAME}"
