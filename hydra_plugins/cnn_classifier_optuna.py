"""The Hydra sweeper `hydra/sweeper=optuna`.

Hydra imports every module of `hydra_plugins` at startup, so Optuna is imported only when a search runs.
"""

from collections.abc import Mapping
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OptunaSweeper(Sweeper):
    """A Hydra `Sweeper` that samples overrides with Optuna.

    Args:
        n_trials: The total number of trials, including those of other processes that use the same study.
        timeout: A duration such as `30m` after which no trial starts; None for no limit.
        n_jobs: The number of trials that are sampled together.
        sampler: The name of the sampler: `tpe` or `random`.
        prune: Whether a trial that is worse than the median of the others at the same epoch is stopped.
        include_baseline: Whether the first trial is the command without searched values.
        params: The search space, as a mapping of config keys to override values.
    """

    def __init__(
        self,
        *,
        n_trials: int = 20,
        timeout: str | None = None,
        n_jobs: int = 1,
        sampler: str = "tpe",
        prune: bool = True,
        include_baseline: bool = False,
        params: Mapping[str, str] | None = None,
    ) -> None:
        self.n_trials, self.timeout, self.n_jobs, self.sampler, self.prune = n_trials, timeout, n_jobs, sampler, prune
        self.include_baseline, self.params = include_baseline, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the search with the overrides of the command line."""
        from cnn_classifier.config.compose import redact_multirun_yaml
        from cnn_classifier.sweep.leaderboard import MULTIRUN_YAML
        from cnn_classifier.sweep.search import OptunaSearch

        assert self.config is not None
        config = self.config
        sweep_dir = Path(config.hydra.sweep.dir)
        sweep_dir.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config.hydra.overrides, sweep_dir / MULTIRUN_YAML)
        redact_multirun_yaml(sweep_dir / MULTIRUN_YAML)
        search = OptunaSearch(
            sweep_dir,
            [f"{key}={value}" for key, value in self.params.items()] + arguments,
            storage=config.sweep.storage,
            study=config.sweep.study,
            sampler=self.sampler,
            seed=config.seed,
            prune=self.prune,
            include_baseline=self.include_baseline,
        )
        search.run(self.launch, n_trials=self.n_trials, timeout=self.timeout, n_jobs=self.n_jobs)

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> list[float | None]:
        """Run jobs and return the validation accuracy of each."""
        assert self.launcher is not None
        self.validate_batch_is_legal(job_overrides)
        return [job.return_value for job in self.launcher.launch(job_overrides, initial_job_idx=initial_job_idx)]
