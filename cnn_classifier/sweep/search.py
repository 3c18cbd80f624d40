"""Hyperparameter search with Optuna."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.config.overrides import quote_override
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.errors import ConfigError, install_command
from cnn_classifier.files import write_json
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.search_space import SearchSpace
from cnn_classifier.sweep.study import STORAGE_ENV, open_storage
from cnn_classifier.training.status import DONE, PRUNED, RUNNING

if TYPE_CHECKING:
    import optuna

MISSING_OPTUNA = f"hydra/sweeper=optuna requires Optuna, which is not installed: {install_command('tune')}"
BASELINE = "default"  # user attribute of the trial without searched values
LaunchFn = Callable[[list[list[str]], int], Sequence[float | None]]


class OptunaSearch:
    """An Optuna study and the jobs that run its trials.

    Args:
        sweep_dir: The sweep directory.
        overrides: The command-line overrides; those with a choice or an interval define the search space.
        storage: The URL of a database that several machines share; by default a journal file in the sweep directory,
            which several processes on one machine can share.
        study: The name of the study; by default the name of the sweep directory.
        sampler: The name of the sampler: `tpe` or `random`.
        seed: The seed of the sampler.
        prune: Whether trials that are worse than the median are stopped.
        include_baseline: Whether the first trial is the command without searched values, for comparison.

    Raises:
        ConfigError: If Optuna is not installed, the search space is empty, or the storage cannot be used.
    """

    def __init__(
        self,
        sweep_dir: Path,
        overrides: Sequence[str],
        *,
        storage: str | None = None,
        study: str | None = None,
        sampler: str = "tpe",
        seed: int = 1,
        prune: bool = True,
        include_baseline: bool = False,
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ConfigError(MISSING_OPTUNA) from error
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        if sampler not in samplers:
            raise ConfigError(f"hydra.sweeper.sampler={sampler} is unknown: expected one of {', '.join(samplers)}")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.leaderboard, self.space, self.prune = Leaderboard(sweep_dir), SearchSpace(overrides), prune
        self.include_baseline = include_baseline
        self.storage = storage or str(sweep_dir / "study.log")
        self.study: optuna.Study = optuna.create_study(
            study_name=study or sweep_dir.name,
            storage=open_storage(self.storage),
            sampler=samplers[sampler](seed=None if self.is_shared(sweep_dir) else seed),
            direction="maximize",
            load_if_exists=True,
        )

    def is_shared(self, sweep_dir: Path) -> bool:
        """Return whether other processes may use the same study; with one seed all would try the same values."""
        return Path(self.storage).parent != sweep_dir or Path(self.storage).exists()

    def run(self, launch: LaunchFn, *, n_trials: int, timeout: str | None, n_jobs: int) -> None:
        """Run trials until the study has `n_trials` finished ones or the timeout has passed.

        Args:
            launch: A function that takes the overrides of each job and the number of the first, runs the jobs, and
                returns the validation accuracy of each.
            n_trials: The total number of trials in the study.
            timeout: A duration such as `30m` after which no trial starts; None for no limit.
            n_jobs: The number of trials that are sampled together.
        """
        import optuna

        if self.include_baseline and not self.study.trials:
            self.study.enqueue_trial({}, user_attrs={BASELINE: True})
        self.requeue_interrupted()
        deadline = time.monotonic() + (parse_duration(timeout, num_images=1) if timeout else float("inf"))
        while (remaining := n_trials - self.num_finished()) > 0 and time.monotonic() < deadline:
            trials = [self.ask() for _ in range(min(remaining, n_jobs))]
            os.environ[STORAGE_ENV] = self.storage  # not an override: the URL may contain a password
            values = launch([self.trial_overrides(trial) for trial in trials], trials[0].number)
            for trial, value in zip(trials, values, strict=True):
                status = self.leaderboard.find_status(self.space.to_overrides(trial.params))
                if status is not None and status.state == DONE and value is None:
                    raise ConfigError("A search compares validation accuracies; there are no validation images.")
                if status is not None and status.state != DONE:
                    value = None  # it is the accuracy of the last epoch, not of a finished run
                state = optuna.trial.TrialState.COMPLETE if value is not None else optuna.trial.TrialState.FAIL
                if status is not None and status.state == PRUNED:
                    state = optuna.trial.TrialState.PRUNED
                # Another process may have marked the trial as lost.
                self.study.tell(trial, value, state, skip_if_finished=True)
        self.write_importance()

    def ask(self) -> "optuna.Trial":
        """Return the next trial; its values are sampled unless it is the baseline."""
        import optuna

        waiting = self.study.get_trials(states=(optuna.trial.TrialState.WAITING,))
        is_baseline = bool(waiting) and waiting[0].user_attrs.get(BASELINE, False)
        return self.study.ask({} if is_baseline else self.space.distributions)

    def trial_overrides(self, trial: "optuna.Trial") -> list[str]:
        """Return the overrides of the job that runs a trial."""
        overrides = self.space.to_overrides(trial.params)
        if not self.prune:
            return overrides
        trial_config = f"study:{quote_override(self.study.study_name)},trial:{trial.number}"
        return [
            *overrides,
            f"+callbacks.pruning={{_target_:cnn_classifier.sweep.pruning.PruningCallback,{trial_config}}}",
        ]

    def num_finished(self) -> int:
        """Return the number of trials that are completed, pruned or failed, without those that were requeued."""
        import optuna

        finished_states = (
            optuna.trial.TrialState.COMPLETE,
            optuna.trial.TrialState.PRUNED,
            optuna.trial.TrialState.FAIL,
        )
        return sum(trial.state in finished_states and not trial.user_attrs.get("lost") for trial in self.study.trials)

    def requeue_interrupted(self) -> None:
        """Enqueue the trials of an earlier command that were interrupted; their jobs resume from checkpoints."""
        import optuna

        for trial in self.study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            status = self.leaderboard.find_status(self.space.to_overrides(trial.params))
            if status is None or status.state == RUNNING:
                continue  # it runs in another process or on another machine
            self.study._storage.set_trial_user_attr(trial._trial_id, "lost", True)
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)

    def write_importance(self) -> None:
        """Write the fANOVA importance of each option to `importance.json` and update the leaderboard."""
        import optuna

        completed = [
            trial for trial in self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)) if trial.params
        ]
        if len(completed) < 4 or len({trial.value for trial in completed}) == 1:
            return
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)  # reproducible
        param_names = list(self.space.distributions)  # excludes trials without them, such as the baseline
        importances: dict[str, Any] = optuna.importance.get_param_importances(
            self.study, evaluator=evaluator, params=param_names
        )
        write_json(
            self.leaderboard.sweep_dir / "importance.json",
            {key: round(float(value), 4) for key, value in importances.items()},
        )
        self.leaderboard.write()
