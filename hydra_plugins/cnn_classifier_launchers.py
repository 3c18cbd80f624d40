"""`hydra/launcher=pool` and `submitit`. Hydra takes plugins from this package only, and imports all when it starts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ProcessLauncher(Launcher, ABC):
    """Each job is a process of its own."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Run these jobs; the accuracy of each on validation images is what a sweeper gets."""
        statuses = self.create_launcher().run(
            [filter_overrides(overrides) for overrides in job_overrides], first=initial_job_idx
        )
        returns = [JobReturn() for _ in statuses]
        for job_return, status in zip(returns, statuses, strict=True):
            job_return.status, job_return.return_value = JobStatus.COMPLETED, status.val_accuracy
        return returns

    @abstractmethod
    def create_launcher(self) -> Any:
        """What runs them: its `run` takes the words of each job and the number of the first."""


class PoolLauncher(ProcessLauncher):
    """Several jobs at a time on this machine.

    Args:
        jobs: At a time, or `auto`.
        patience: Minutes without a sign of life after which a job is stopped.
    """

    def __init__(self, *, n_jobs: int | str = "auto", timeout_minutes: float = 30) -> None:
        self.n_jobs, self.timeout_minutes = n_jobs, timeout_minutes

    def create_launcher(self) -> Any:
        from cnn_classifier.sweep.launcher import LocalLauncher

        accelerator = str(self.config.trainer.accelerator)
        return LocalLauncher(
            self.config.hydra.sweep.dir, n_jobs=self.n_jobs, timeout=60 * self.timeout_minutes, accelerator=accelerator
        )


class SubmititLauncher(ProcessLauncher):
    """Jobs in the queue of a cluster.

    Args:
        cluster: `slurm`, or `local` for processes of this machine.
        patience: Minutes without a sign of life after which a job is stopped.
        parameters: Of submitit, such as `timeout_min` and `slurm_partition`; those that are null are left to it.
    """

    def __init__(self, *, cluster: str = "slurm", timeout_minutes: float = 30, parameters: Mapping[str, Any]) -> None:
        self.cluster, self.timeout_minutes, self.parameters = cluster, timeout_minutes, dict(parameters)

    def create_launcher(self) -> Any:
        from cnn_classifier.sweep.slurm import SlurmLauncher

        sweep_dir = self.config.hydra.sweep.dir
        return SlurmLauncher(
            sweep_dir, cluster=self.cluster, parameters=self.parameters, timeout=60 * self.timeout_minutes
        )
