"""Jobs of a sweep on a cluster: submitit hands them to SLURM, and each is watched where it runs."""

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_classifier.errors import INTERNAL_EXIT_CODE, ConfigError
from cnn_classifier.sweep.job import remove_if_empty
from cnn_classifier.sweep.launcher import available_cores, job_progress
from cnn_classifier.sweep.leaderboard import Leaderboard, job_overrides
from cnn_classifier.sweep.worker import JobProcess, PendingJob, pending_jobs
from cnn_classifier.training.status import KILLED, RUNNING, Status, read_status

MISSING_SUBMITIT = "hydra/launcher=submitit needs submitit, which is not installed; pip install 'cnn_classifier[slurm]'"
POLL_SECONDS = 2.0  # submitit itself asks SLURM less often
STOP_TIMEOUT_SECONDS = 90.0


@dataclass
class SlurmJob:
    """A job as submitit stores it for the machine that will run it.

    Args:
        job: What to run.
        patience: Seconds without a sign of life after which it is stopped.
    """

    job: PendingJob
    timeout: float

    def __call__(self) -> None:
        self.process = JobProcess(self.job, {"cores": available_cores(), "gpu": None})
        try:
            while not self.process.has_ended(self.timeout):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.process.stop(signal.SIGINT)
            self.process.wait()

    def checkpoint(self) -> Any:
        """Called by submitit some time before the job's own is up: save, and queue what is left."""
        from submitit.helpers import DelayedSubmission

        self.process.stop(signal.SIGUSR2)
        self.process.wait()
        return DelayedSubmission(SlurmJob(replace(self.job, resume=True), self.timeout))


class SlurmLauncher:
    """Jobs in the queue of a cluster.

    Args:
        folder: Of the sweep.
        cluster: `slurm`, or `local` for processes of this machine.
        parameters: Of submitit; those that are null are left to it.
        patience: Seconds without a sign of life after which a job is stopped.

    Raises:
        ConfigError: If submitit is missing or refuses them, or there is no such cluster.
    """

    def __init__(self, sweep_dir: str | Path, *, cluster: str, parameters: Mapping[str, Any], timeout: float) -> None:
        self.leaderboard, self.timeout = Leaderboard(Path(sweep_dir)), timeout
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(MISSING_SUBMITIT) from error
        submitit_parameters = {name: value for name, value in parameters.items() if value is not None}
        self.log_dir = self.leaderboard.sweep_dir / "submitit"
        try:
            self.executor = submitit.AutoExecutor(self.log_dir, cluster=cluster)
            self.executor.update_parameters(name="cnn_classifier", **submitit_parameters)
        except (AssertionError, RuntimeError, ValueError, TypeError, NameError) as error:
            remove_if_empty(self.log_dir)
            detail = " ".join(str(error).split())
            raise ConfigError(
                f"hydra.launcher.cluster={cluster}, parameters={submitit_parameters}: {detail}"
            ) from error

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """As `Pool.run`; Ctrl-C and SIGTERM take all jobs off the queue, each with its checkpoint."""
        pending = pending_jobs(self.leaderboard, jobs, first)
        with self.executor.batch():
            submitted_jobs = [self.executor.submit(SlurmJob(job, self.timeout)) for job in pending]
        run_dirs = [job.run_dir for job in pending]
        try:
            self.wait(submitted_jobs, run_dirs)
        except BaseException:
            for job in submitted_jobs:
                job.cancel(check=False)
            self.wait(submitted_jobs, run_dirs, timeout=STOP_TIMEOUT_SECONDS)
            raise
        for pending_job in pending:  # a machine that is lost says nothing
            not_started = Status(
                run_dir=pending_job.run_dir,
                overrides=job_overrides(pending_job.overrides),
                message=f"never began, see {self.log_dir}",
            )
            status = read_status(pending_job.run_dir) or not_started
            if status.exit_code is None:
                replace(status, state=KILLED, exit_code=INTERNAL_EXIT_CODE).write()
        statuses = [self.leaderboard.find_status(overrides) for overrides in jobs]
        return [status for status in statuses if status is not None]

    def wait(self, submitted_jobs: Sequence[Any], run_dirs: Sequence[Path], timeout: float = math.inf) -> None:
        """Until all are done, or so many seconds are over; the leaderboard is told anew after each."""
        start_time, num_done = time.monotonic(), 0
        with job_progress(len(submitted_jobs)) as update_progress:
            while num_done < len(submitted_jobs) and time.monotonic() - start_time < timeout:
                previously_done, num_done = num_done, sum(job.done() for job in submitted_jobs)
                if num_done > previously_done:
                    self.leaderboard.write()
                statuses = [status for run_dir in run_dirs if (status := read_status(run_dir))]
                running = [status for status in statuses if status.state == RUNNING]
                update_progress(running, len(submitted_jobs) - num_done - len(running))
                time.sleep(POLL_SECONDS)
