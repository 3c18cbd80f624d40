"""Look for the best values with Optuna: it chooses, jobs try, what they gave is told to it."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.config.compose import quote_override
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.errors import ConfigError
from cnn_classifier.files import write_json
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.search_space import SearchSpace
from cnn_classifier.sweep.study import STORAGE_ENV, open_storage
from cnn_classifier.training.status import DONE, PRUNED, RUNNING

if TYPE_CHECKING:
    import optuna

MISSING_OPTUNA = "hydra/sweeper=optuna needs Optuna, which is not installed; pip install 'cnn_classifier[tune]'"
BASELINE = "default"  # marks the trial that looks for nothing
LaunchFn = Callable[[list[list[str]], int], Sequence[float | None]]


class OptunaSearch:
    """A study of Optuna's, and the jobs that are its trials.

    Args:
        folder: Of the sweep.
        words: Of the command; those that leave a choice are what is looked for.
        storage: Address of a database that several machines share; by default a journal in the folder, which several
            processes of one machine may share.
        study: Its name there; by default the folder's.
        sampler: `tpe` or `random`.
        seed: Of the sampler.
        prune: Whether hopeless trials are stopped at the end of an epoch.
        default: Whether the first trial is the command without what is looked for, to see what the search gains.

    Raises:
        ConfigError: If Optuna is not installed, nothing is looked for, or the storage cannot be used.
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
            raise ConfigError(f"hydra.sweeper.sampler={sampler} is unknown; expected one of: {', '.join(samplers)}")
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
        """Whether others may be at the same study; with one seed they would all try the same."""
        return Path(self.storage).parent != sweep_dir or Path(self.storage).exists()

    def run(self, launch: LaunchFn, *, n_trials: int, timeout: str | None, n_jobs: int) -> None:
        """Try values until there are enough trials, or the time is over.

        Args:
            launch: Runs jobs, given their words and the number of the first, and returns the accuracy of each.
            trials: Of the study, in all.
            timeout: A time such as `30m` after which none begins.
            at_a_time: Trials that are chosen together.
        """
        import optuna

        if self.include_baseline and not self.study.trials:
            self.study.enqueue_trial({}, user_attrs={BASELINE: True})
        self.requeue_interrupted()
        deadline = time.monotonic() + (parse_duration(timeout, num_images=1) if timeout else float("inf"))
        while (remaining := n_trials - self.num_finished()) > 0 and time.monotonic() < deadline:
            trials = [self.ask() for _ in range(min(remaining, n_jobs))]
            os.environ[STORAGE_ENV] = self.storage  # not a word of the command: it may hold a password
            values = launch([self.trial_overrides(trial) for trial in trials], trials[0].number)
            for trial, value in zip(trials, values, strict=True):
                status = self.leaderboard.find_status(self.space.to_overrides(trial.params))
                if status is not None and status.state != DONE:
                    value = None  # of its last epoch
                state = optuna.trial.TrialState.COMPLETE if value is not None else optuna.trial.TrialState.FAIL
                if status is not None and status.state == PRUNED:
                    state = optuna.trial.TrialState.PRUNED
                self.study.tell(trial, value, state, skip_if_finished=True)  # by another process, as lost
        self.write_importance()

    def ask(self) -> "optuna.Trial":
        """The next trial, its values chosen unless it is the default."""
        import optuna

        waiting = self.study.get_trials(states=(optuna.trial.TrialState.WAITING,))
        is_baseline = bool(waiting) and waiting[0].user_attrs.get(BASELINE, False)
        return self.study.ask({} if is_baseline else self.space.distributions)

    def trial_overrides(self, trial: "optuna.Trial") -> list[str]:
        """Of the job that is this trial."""
        overrides = self.space.to_overrides(trial.params)
        if not self.prune:
            return overrides
        trial_config = f"study:{quote_override(self.study.study_name)},trial:{trial.number}"
        return [
            *overrides,
            f"+callbacks.pruning={{_target_:cnn_classifier.sweep.pruning.PruningCallback,{trial_config}}}",
        ]

    def num_finished(self) -> int:
        """How many trials have a result, or none to come."""
        import optuna

        finished_states = (
            optuna.trial.TrialState.COMPLETE,
            optuna.trial.TrialState.PRUNED,
            optuna.trial.TrialState.FAIL,
        )
        return sum(trial.state in finished_states and not trial.user_attrs.get("lost") for trial in self.study.trials)

    def requeue_interrupted(self) -> None:
        """Trials of an earlier command that were cut off are tried first; their jobs go on from their checkpoints."""
        import optuna

        for trial in self.study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            status = self.leaderboard.find_status(self.space.to_overrides(trial.params))
            if status is None or status.state == RUNNING:
                continue  # another process is at it, or another machine
            self.study._storage.set_trial_user_attr(trial._trial_id, "lost", True)
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)

    def write_importance(self) -> None:
        """How much of the differences between trials each option explains, as `importance.json`, for the page."""
        import optuna

        completed = [
            trial for trial in self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)) if trial.params
        ]
        if len(completed) < 4 or len({trial.value for trial in completed}) == 1:
            return
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)  # the same trials, the same page
        param_names = list(self.space.distributions)  # trials without them, such as the default, do not count
        importances: dict[str, Any] = optuna.importance.get_param_importances(
            self.study, evaluator=evaluator, params=param_names
        )
        write_json(
            self.leaderboard.sweep_dir / "importance.json",
            {key: round(float(value), 4) for key, value in importances.items()},
        )
        self.leaderboard.write()
