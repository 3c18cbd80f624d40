"""Unfreeze the blocks of a fine-tuned network as the training progresses."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_classifier.lightning_internals import count_epochs
from cnn_classifier.models.finetuning import FineTunable


class Unfreezing(Callback):
    """Tell a `FineTunable` network which fraction of the training is done, at the start of each epoch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_start(trainer, pl_module)  # Lightning omits it when a run resumes within an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        network: Any = pl_module.network
        if isinstance(network, FineTunable):
            epochs = count_epochs(trainer)
            network.set_progress(trainer.current_epoch / epochs if epochs else 1.0)
