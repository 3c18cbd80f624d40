"""Jobs of a sweep on a cluster: submitit hands them to SLURM, and each is watched where it runs."""

import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_classifier.errors import INTERNAL_EXIT_CODE, ConfigError
from cnn_classifier.status import KILLED, RUNNING, Status, read_status
from cnn_classifier.sweep.child import Child
from cnn_classifier.sweep.job import remove_if_empty
from cnn_classifier.sweep.leaderboard import Leaderboard, what
from cnn_classifier.sweep.planned import Planned, plan
from cnn_classifier.sweep.pool import own_cores, showing

MISSING = "hydra/launcher=submitit needs submitit, which is not installed; pip install 'cnn_classifier[slurm]'"
SECONDS_BETWEEN_LOOKS = 2.0  # submitit itself asks SLURM less often
SECONDS_TO_STOP = 90.0


@dataclass
class Queued:
    """A job as submitit stores it for the machine that will run it.

    Args:
        job: What to run.
        patience: Seconds without a sign of life after which it is stopped.
    """

    job: Planned
    patience: float

    def __call__(self) -> None:
        self.child = Child(self.job, {"cores": own_cores(), "gpu": None})
        try:
            while not self.child.has_ended(self.patience):
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except KeyboardInterrupt:
            self.child.stop(signal.SIGINT)
            self.child.wait()

    def checkpoint(self) -> Any:
        """Called by submitit some time before the job's own is up: save, and queue what is left."""
        from submitit.helpers import DelayedSubmission

        self.child.stop(signal.SIGUSR2)
        self.child.wait()
        return DelayedSubmission(Queued(replace(self.job, resume=True), self.patience))


class Cluster:
    """Jobs in the queue of a cluster.

    Args:
        folder: Of the sweep.
        cluster: `slurm`, or `local` for processes of this machine.
        parameters: Of submitit; those that are null are left to it.
        patience: Seconds without a sign of life after which a job is stopped.

    Raises:
        ConfigError: If submitit is missing or refuses them, or there is no such cluster.
    """

    def __init__(self, folder: str | Path, *, cluster: str, parameters: Mapping[str, Any], patience: float) -> None:
        self.board, self.patience = Leaderboard(Path(folder)), patience
        try:
            import submitit
        except ImportError as error:
            raise ConfigError(MISSING) from error
        given = {name: value for name, value in parameters.items() if value is not None}
        self.logs = self.board.folder / "submitit"
        try:
            self.executor = submitit.AutoExecutor(self.logs, cluster=cluster)
            self.executor.update_parameters(name="cnn_classifier", **given)
        except (AssertionError, RuntimeError, ValueError, TypeError, NameError) as error:
            remove_if_empty(self.logs)
            told = " ".join(str(error).split())
            raise ConfigError(f"hydra.launcher.cluster={cluster}, parameters={given}: {told}") from error

    def run(self, jobs: Sequence[Sequence[str]], *, first: int = 0) -> list[Status]:
        """As `Pool.run`; Ctrl-C and SIGTERM take all jobs off the queue, each with its checkpoint."""
        planned = plan(self.board, jobs, first)
        with self.executor.batch():
            submitted = [self.executor.submit(Queued(job, self.patience)) for job in planned]
        folders = [job.folder for job in planned]
        try:
            self.wait(submitted, folders)
        except BaseException:
            for job in submitted:
                job.cancel(check=False)
            self.wait(submitted, folders, seconds=SECONDS_TO_STOP)
            raise
        for run in planned:  # a machine that is lost says nothing
            never = Status(run_dir=run.folder, words=what(run.words), message=f"never began, see {self.logs}")
            status = read_status(run.folder) or never
            if status.exit_code is None:
                replace(status, state=KILLED, exit_code=INTERNAL_EXIT_CODE).write()
        found = [self.board.find(words) for words in jobs]
        return [status for status in found if status is not None]

    def wait(self, submitted: Sequence[Any], folders: Sequence[Path], seconds: float = math.inf) -> None:
        """Until all are done, or so many seconds are over; the leaderboard is told anew after each."""
        since, done = time.monotonic(), 0
        with showing(len(submitted)) as show:
            while done < len(submitted) and time.monotonic() - since < seconds:
                before, done = done, sum(job.done() for job in submitted)
                if done > before:
                    self.board.write()
                statuses = [status for folder in folders if (status := read_status(folder))]
                running = [status for status in statuses if status.state == RUNNING]
                show(running, len(submitted) - done - len(running))
                time.sleep(SECONDS_BETWEEN_LOOKS)
