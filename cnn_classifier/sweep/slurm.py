"""A launcher that submits sweep jobs to a SLURM cluster with submitit."""

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_classifier.errors import INTERNAL_EXIT_CODE, ConfigError, install_command, single_line
from cnn_classifier.files import remove_if_empty
from cnn_classifier.sweep.launcher import available_cores, job_progress
from cnn_classifier.sweep.leaderboard import Leaderboard, job_overrides
from cnn_classifier.sweep.worker import JobProcess, PendingJob, pending_jobs
from cnn_classifier.training.status import KILLED, RUNNING, Status, read_status

MISSING_SUBMITIT = f"hydra/launcher=submitit requires submitit, which is not installed: {install_command('slurm')}"
POLL_SECONDS = 2.0  # submitit itself queries SLURM less often
STOP_TIMEOUT_SECONDS = 90.0


@dataclass
class SlurmJob:
    """A callable that submitit pickles and runs on a node of the cluster.

    Args:
        job: The job to run.
        timeout: The number of seconds without output after which the job is stopped.
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
        """Save a checkpoint and requeue the job; submitit calls this before the time limit and on preemption."""
        from submitit.helpers import DelayedSubmission

        self.process.stop(signal.SIGUSR2)
        self.process.wait()
        return DelayedSubmission(SlurmJob(replace(self.job, resume=True), self.timeout))


class SlurmLauncher:
    """A launcher that submits jobs to the queue of a cluster.

    Args:
        sweep_dir: The sweep directory.
        cluster: The cluster type: `slurm`, or `local` for processes on this machine.
        parameters: The parameters of submitit; null values keep its defaults.
        timeout: The number of seconds without output after which a job is stopped.

    Raises:
        ConfigError: If submitit is not installed, a parameter is invalid, or the cluster is not available.
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
            detail = single_line(error)
            raise ConfigError(
                f"Cannot use hydra.launcher.cluster={cluster}, parameters={submitit_parameters}: {detail}"
            ) from error

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """Run the unfinished jobs; on Ctrl-C or SIGTERM, cancel them all, each with a checkpoint.

        Args:
            jobs: The overrides of each job.
            first: The number of the first job.

        Returns:
            The final statuses of the jobs, in order.
        """
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
        for pending_job in pending:  # a node that is lost leaves no final status
            not_started = Status(
                run_dir=pending_job.run_dir,
                overrides=job_overrides(pending_job.overrides),
                message=f"did not start, see {self.log_dir}",
            )
            status = read_status(pending_job.run_dir) or not_started
            if status.exit_code is None:
                replace(status, state=KILLED, exit_code=INTERNAL_EXIT_CODE).write()
        statuses = [self.leaderboard.find_status(overrides) for overrides in jobs]
        return [status for status in statuses if status is not None]

    def wait(self, submitted_jobs: Sequence[Any], run_dirs: Sequence[Path], timeout: float = math.inf) -> None:
        """Wait until all jobs are done or `timeout` seconds have passed; update the leaderboard after each job."""
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
