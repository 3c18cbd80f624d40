"""One job of a sweep as a process of its own, watched from outside."""

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

from cnn_classifier.config.compose import quote_override
from cnn_classifier.config.paths import user_config_dirs
from cnn_classifier.config.secrets import redact_overrides
from cnn_classifier.errors import INTERNAL_EXIT_CODE, INTERRUPTED_EXIT_CODE, TERMINATED_EXIT_CODE
from cnn_classifier.files import ensure_writable_dir
from cnn_classifier.sweep.leaderboard import RESUME_OVERRIDE, Leaderboard, can_resume, job_overrides
from cnn_classifier.training.status import (
    DONE,
    FAILED,
    FINISHED,
    INTERRUPTED,
    KILLED,
    RUNNING,
    STATUS_FILE,
    Status,
    read_status,
)

LOG_NAME = "train.log"
STOP_TIMEOUT_SECONDS = 60.0  # to write a checkpoint in; then it is killed


@dataclass(frozen=True)
class PendingJob:
    """A job that has yet to begin.

    Args:
        folder: Of its run.
        words: What it changes.
        resume: Whether it goes on from its last checkpoint.
        config_folders: Where the user's own configurations are.
    """

    run_dir: Path
    overrides: Sequence[str]
    resume: bool
    config_dirs: Sequence[Path]

    def build_command(self) -> list[str]:
        """The command of the job alone."""
        return [
            *[sys.executable, "-m", "cnn_classifier", "train"],
            *(f"--config-dir={config_dir}" for config_dir in self.config_dirs),
            *self.overrides,
            f"run_dir={quote_override(self.run_dir)}",
            f"sweep.name={quote_override(self.run_dir.parent.name)}",
            *(["resume=auto"] if self.resume else []),
        ]


def pending_jobs(leaderboard: Leaderboard, jobs: Sequence[Sequence[str]], first: int) -> list[PendingJob]:
    """The jobs that are not done, and that no other process is at.

    Args:
        board: Of the sweep.
        jobs: The words of each.
        first: The number of the first.
    """
    leaderboard.redact()
    pending = []
    for job_number, overrides in enumerate(jobs, first):
        previous_status = leaderboard.find_status(overrides)
        if previous_status is not None and previous_status.state in (*FINISHED, RUNNING):
            print(
                f"{previous_status.run_dir}: {previous_status.state} already: {' '.join(redact_overrides(overrides))}"
            )
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
    """A job that runs; what it says goes into `train.log`.

    Args:
        job: What to run.
        place: Its `cores`, and its `gpu` or None.
    """

    def __init__(self, job: PendingJob, slot: Mapping[str, Any]) -> None:
        self.run_dir, self.overrides, self.timeout_message = job.run_dir, list(job.overrides), ""
        env = dict(os.environ) | {"OMP_NUM_THREADS": str(len(slot["cores"]))}
        if slot["gpu"] is not None:
            env["CUDA_VISIBLE_DEVICES"] = slot["gpu"]
        ensure_writable_dir(self.run_dir)
        self.previous_status = read_status(self.run_dir)  # it stays until the job has begun, should both die
        with (self.run_dir / LOG_NAME).open("ab") as log:
            # A session of its own: Ctrl-C reaches it once, from us.
            self.process = subprocess.Popen(
                job.build_command(), stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, slot["cores"])
        self.start_time = time.monotonic()
        tqdm.write(f"{self.run_dir}: {' '.join(redact_overrides(self.overrides))}")

    def has_ended(self, timeout: float) -> bool:
        """Whether it is over; one without a sign of life for so many seconds is stopped."""
        if self.process.poll() is None:
            if self.seconds_since_output() < timeout:
                return False
            self.timeout_message = f"no sign of life for {timeout / 60:g} minutes, stopped"
            self.stop(signal.SIGTERM)
        self.wait()
        return True

    def status(self) -> Status | None:
        """How far it is."""
        return read_status(self.run_dir)

    def seconds_since_output(self) -> float:
        """Seconds since it last wrote anything."""
        mtimes = [
            path.stat().st_mtime for path in (self.run_dir / STATUS_FILE, self.run_dir / LOG_NAME) if path.exists()
        ]
        return min(time.monotonic() - self.start_time, time.time() - max(mtimes, default=0.0))

    def stop(self, signum: int) -> None:
        """Ask it to end."""
        if os.name == "nt":
            self.process.terminate()  # Windows knows no other way from outside
        else:
            self.process.send_signal(signum)

    def wait(self) -> None:
        """Until it is over, and make sure that its status tells how it ended."""
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
            exit_code = 128 - return_code if return_code < 0 else return_code or INTERNAL_EXIT_CODE  # as a shell has it
            replace(last_status, state=state, exit_code=exit_code, message=message).write()
            status = read_status(self.run_dir)
        if status is not None:
            accuracy = f"val accuracy {status.val_accuracy:.4f}" if status.state == DONE else status.message
            tqdm.write(f"{self.run_dir}: {status.state}  {accuracy}")

    def failure_reason(self, return_code: int) -> str:
        """Why it ended, as far as it said so."""
        if return_code < 0:
            return f"ended by signal {-return_code} ({signal.Signals(-return_code).name})"
        lines = (self.run_dir / LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return errors[-1] if errors else f"ended with exit code {return_code}, see {LOG_NAME}"
