"""A callback that stops a trial that is worse than the median of the others."""

import os

import optuna
from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.errors import ConfigError, PrunedError
from cnn_classifier.sweep.study import STORAGE_ENV, open_storage

N_STARTUP_TRIALS = 4  # completed trials before any trial is pruned
# Fraction of the epochs before a trial can be pruned. Early accuracy predicts little: without it, 49 of 54 trials were
# stopped after epochs 2 to 14 of 20 (docs/results.md). With progressive resizing, the first half of the epochs is a
# third of the work.
WARMUP_FRACTION = 0.5


class PruningCallback(Callback):
    """A `Callback` that reports the validation accuracy to an Optuna study after each epoch and stops hopeless trials.

    Args:
        study: The name of the study.
        trial: The number of the trial in the study.

    Raises:
        ConfigError: If it is used outside of a search.
    """

    def __init__(self, *, study: str, trial: int) -> None:
        if STORAGE_ENV not in os.environ:
            raise ConfigError("callbacks.pruning is only supported with hydra/sweeper=optuna, which adds it itself")
        pruner = optuna.pruners.MedianPruner(n_startup_trials=N_STARTUP_TRIALS)
        loaded_study = optuna.load_study(study_name=study, storage=open_storage(os.environ[STORAGE_ENV]), pruner=pruner)
        self.trial = optuna.Trial(loaded_study, loaded_study.trials[trial]._trial_id)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        accuracy = trainer.callback_metrics.get("val/accuracy")
        epoch, max_epochs = trainer.current_epoch + 1, trainer.max_epochs or 0
        if accuracy is None or epoch == max_epochs:
            return
        self.trial.report(float(accuracy), epoch)
        if epoch >= WARMUP_FRACTION * max_epochs and self.trial.should_prune():
            raise PrunedError(f"below the median of the other trials after epoch {epoch}")
