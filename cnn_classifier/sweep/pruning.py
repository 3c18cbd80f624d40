"""Stop a trial that has fallen behind the others at the same epoch."""

import os

import optuna
from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.errors import ConfigError, PrunedError
from cnn_classifier.sweep.study import STORAGE_ENV, open_storage

N_STARTUP_TRIALS = 4  # that come to their end before any is stopped
# Of the epochs of a trial: while rates rise, accuracy is luck, and of 54 trials 49 were stopped after epochs 2 to 14 of
# 20, whatever they would have become (docs/results.md). As images grow, the first half is a third of the work.
WARMUP_FRACTION = 0.5


class PruningCallback(Callback):
    """Tells a study the accuracy on validation after each epoch, and asks whether to go on.

    Args:
        study: Its name.
        trial: The number of this run in it.

    Raises:
        ConfigError: Outside of a search.
    """

    def __init__(self, *, study: str, trial: int) -> None:
        if STORAGE_ENV not in os.environ:
            raise ConfigError("callbacks.pruning goes with hydra/sweeper=optuna, which sets it by itself")
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
            raise PrunedError(f"behind the median of the other trials after epoch {epoch}")
