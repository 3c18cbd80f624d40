"""What a network offers whose parts learn at rates, and from times, of their own."""

from typing import Protocol, runtime_checkable

from torch import nn


@runtime_checkable
class FineTunable(Protocol):
    """A network that begins with weights learnt elsewhere."""

    def load_weights(self) -> None:
        """Start from these weights; called once before a training, never when a checkpoint is loaded."""

    def lr_multipliers(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters of each part, and what to multiply their learning rate by."""

    def set_progress(self, fraction: float) -> None:
        """Let the parts learn whose time has come.

        Args:
            share: Of the run that is over.
        """
