"""The Hydra launchers `hydra/launcher=pool` and `hydra/launcher=submitit`.

Hydra imports every module of `hydra_plugins` at startup, so each launcher is imported only when it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class ProcessLauncher(Launcher, ABC):
    """A Hydra `Launcher` that runs each job in its own process."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Run jobs; the return value of each is its validation accuracy."""
        statuses = self.create_launcher().run(
            [filter_overrides(overrides) for overrides in job_overrides], first=initial_job_idx
        )
        returns = [JobReturn() for _ in statuses]
        for job_return, status in zip(returns, statuses, strict=True):
            job_return.status, job_return.return_value = JobStatus.COMPLETED, status.val_accuracy
        return returns

    @abstractmethod
    def create_launcher(self) -> Any:
        """Return an object whose `run` takes the overrides of each job and the number of the first job."""


class PoolLauncher(ProcessLauncher):
    """A launcher that runs several jobs at a time on this machine.

    Args:
        n_jobs: The number of jobs that run at a time; `auto` is one per GPU, or without GPUs one per four cores.
        timeout_minutes: The number of minutes without output after which a job is stopped.
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
    """A launcher that submits jobs to the queue of a cluster.

    Args:
        cluster: The cluster type: `slurm`, or `local` for processes on this machine.
        timeout_minutes: The number of minutes without output after which a job is stopped.
        parameters: The parameters of submitit, such as `timeout_min` and `slurm_partition`; null values keep its
            defaults.
    """

    def __init__(self, *, cluster: str = "slurm", timeout_minutes: float = 30, parameters: Mapping[str, Any]) -> None:
        self.cluster, self.timeout_minutes, self.parameters = cluster, timeout_minutes, dict(parameters)

    def create_launcher(self) -> Any:
        from cnn_classifier.sweep.slurm import SlurmLauncher

        sweep_dir = self.config.hydra.sweep.dir
        return SlurmLauncher(
            sweep_dir, cluster=self.cluster, parameters=self.parameters, timeout=60 * self.timeout_minutes
        )
