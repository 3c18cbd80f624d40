"""The interface of networks that support fine-tuning."""

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class FineTunable(Protocol):
    """A network with pretrained weights, per-block learning rates and gradual unfreezing (arXiv:1801.06146)."""

    def load_weights(self) -> None:
        """Load the pretrained weights. Called once before training starts, but not when a checkpoint is loaded."""

    def lr_multipliers(self) -> list[tuple[list[nn.Parameter], float]]:
        """Return the parameters of each block and the factor of their learning rate."""

    def set_progress(self, fraction: float) -> None:
        """Freeze and unfreeze blocks according to the progress of the run.

        Args:
            fraction: The completed fraction of the run, from 0 to 1.
        """
