"""`hydra/launcher=pool`. Hydra takes plugins from this package only, and imports them all whenever it starts."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class PoolLauncher(Launcher):
    """Several jobs at a time, each a process of its own.

    Args:
        jobs: At a time, or `auto`.
        patience: Minutes without a sign of life after which a job is stopped.
    """

    def __init__(self, *, jobs: int | str = "auto", patience: float = 30) -> None:
        self.jobs, self.patience = jobs, patience

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        """Run these jobs; the accuracy of each on validation images is what a sweeper gets."""
        from cnn_classifier.sweep.pool import Pool

        accelerator = str(self.config.trainer.accelerator)
        pool = Pool(self.config.hydra.sweep.dir, jobs=self.jobs, patience=60 * self.patience, accelerator=accelerator)
        statuses = pool.run([filter_overrides(words) for words in job_overrides], first=initial_job_idx)
        returns = [JobReturn() for _ in statuses]
        for returned, status in zip(returns, statuses, strict=True):
            returned.status, returned.return_value = JobStatus.COMPLETED, status.val_accuracy
        return returns
