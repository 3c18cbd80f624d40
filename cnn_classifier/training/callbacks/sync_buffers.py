"""Use the same batch-norm statistics in all processes for validation."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed


class SyncBuffers(Callback):
    """Broadcast the buffers of rank 0 before each validation.

    Batch norms see different images in each process. The checkpoint stores the statistics of rank 0.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                distributed.broadcast(buffer, 0)
