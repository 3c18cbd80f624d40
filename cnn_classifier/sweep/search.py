"""Look for the best values with Optuna: it chooses, jobs try, what they gave is told to it."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.budget import seconds_of
from cnn_classifier.config import quoted
from cnn_classifier.errors import ConfigError
from cnn_classifier.status import DONE, PRUNED, RUNNING
from cnn_classifier.storage import write_json
from cnn_classifier.sweep.leaderboard import Leaderboard
from cnn_classifier.sweep.space import Space
from cnn_classifier.sweep.study import STORAGE, open_storage

if TYPE_CHECKING:
    import optuna

MISSING = "hydra/sweeper=optuna needs Optuna, which is not installed; pip install 'cnn_classifier[tune]'"
DEFAULT = "default"  # marks the trial that looks for nothing
Launch = Callable[[list[list[str]], int], Sequence[float | None]]


class Search:
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
        folder: Path,
        words: Sequence[str],
        *,
        storage: str | None = None,
        study: str | None = None,
        sampler: str = "tpe",
        seed: int = 1,
        prune: bool = True,
        default: bool = False,
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ConfigError(MISSING) from error
        samplers = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
        if sampler not in samplers:
            raise ConfigError(f"hydra.sweeper.sampler={sampler} is unknown; expected one of: {', '.join(samplers)}")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.board, self.space, self.prune = Leaderboard(folder), Space(words), prune
        self.default = default
        self.storage = storage or str(folder / "study.log")
        self.study: optuna.Study = optuna.create_study(
            study_name=study or folder.name,
            storage=open_storage(self.storage),
            sampler=samplers[sampler](seed=None if self.is_shared(folder) else seed),
            direction="maximize",
            load_if_exists=True,
        )

    def is_shared(self, folder: Path) -> bool:
        """Whether others may be at the same study; with one seed they would all try the same."""
        return Path(self.storage).parent != folder or Path(self.storage).exists()

    def run(self, launch: Launch, *, trials: int, timeout: str | None, at_a_time: int) -> None:
        """Try values until there are enough trials, or the time is over.

        Args:
            launch: Runs jobs, given their words and the number of the first, and returns the accuracy of each.
            trials: Of the study, in all.
            timeout: A time such as `30m` after which none begins.
            at_a_time: Trials that are chosen together.
        """
        import optuna

        if self.default and not self.study.trials:
            self.study.enqueue_trial({}, user_attrs={DEFAULT: True})
        self.take_up()
        end = time.monotonic() + (seconds_of(timeout, images=1) if timeout else float("inf"))
        while (left := trials - self.finished()) > 0 and time.monotonic() < end:
            asked = [self.ask() for _ in range(min(left, at_a_time))]
            os.environ[STORAGE] = self.storage  # not a word of the command: it may hold a password
            values = launch([self.words(trial) for trial in asked], asked[0].number)
            for trial, value in zip(asked, values, strict=True):
                found = self.board.find(self.space.words(trial.params))
                if found is not None and found.state != DONE:
                    value = None  # of its last epoch
                state = optuna.trial.TrialState.COMPLETE if value is not None else optuna.trial.TrialState.FAIL
                if found is not None and found.state == PRUNED:
                    state = optuna.trial.TrialState.PRUNED
                self.study.tell(trial, value, state, skip_if_finished=True)  # by another process, as lost
        self.write_importance()

    def ask(self) -> "optuna.Trial":
        """The next trial, its values chosen unless it is the default."""
        import optuna

        waiting = self.study.get_trials(states=(optuna.trial.TrialState.WAITING,))
        is_default = bool(waiting) and waiting[0].user_attrs.get(DEFAULT, False)
        return self.study.ask({} if is_default else self.space.distributions)

    def words(self, trial: "optuna.Trial") -> list[str]:
        """Of the job that is this trial."""
        words = self.space.words(trial.params)
        if not self.prune:
            return words
        told = f"study:{quoted(self.study.study_name)},trial:{trial.number}"
        return [*words, f"+callbacks.pruning={{_target_:cnn_classifier.sweep.pruning.Pruning,{told}}}"]

    def finished(self) -> int:
        """How many trials have a result, or none to come."""
        import optuna

        over = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)
        return sum(trial.state in over and not trial.user_attrs.get("lost") for trial in self.study.trials)

    def take_up(self) -> None:
        """Trials of an earlier command that were cut off are tried first; their jobs go on from their checkpoints."""
        import optuna

        for trial in self.study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            status = self.board.find(self.space.words(trial.params))
            if status is None or status.state == RUNNING:
                continue  # another process is at it, or another machine
            self.study._storage.set_trial_user_attr(trial._trial_id, "lost", True)
            self.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs)

    def write_importance(self) -> None:
        """How much of the differences between trials each option explains, as `importance.json`, for the page."""
        import optuna

        done = [trial for trial in self.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)) if trial.params]
        if len(done) < 4 or len({trial.value for trial in done}) == 1:
            return
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)  # the same trials, the same page
        looked_for = list(self.space.distributions)  # trials without them, such as the default, do not count
        found: dict[str, Any] = optuna.importance.get_param_importances(
            self.study, evaluator=evaluator, params=looked_for
        )
        write_json(self.board.folder / "importance.json", {key: round(float(value), 4) for key, value in found.items()})
        self.board.write()
