"""The epochs of a run: the sizes of their images, their cost, and the plan for a time budget."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

# The work that does not depend on the image size (optimizer, validation) takes as long as the convolutions on an image
# of this size: epochs of 3,600 photos took 8.3, 13.8 and 21.5 s at 64, 96 and 128 px, and with narrower blocks 2.7, 4.4
# and 6.6 s at 48, 72 and 96 px (batches of 128, 2 cores with bfloat16).
FIXED_COST_SIDE = 60


def get_epoch_size(sizes: Sequence[int], epoch: int, num_epochs: int) -> int:
    """Return the side of the training images of an epoch in pixels.

    Each size takes an equal part of the epochs, the last ones first: short runs use mostly the largest.

    Args:
        sizes: The sides in pixels, in the order of their use.
        epoch: The epoch, counted from 0.
        num_epochs: The number of epochs of the run, 0 if it is not limited.
    """
    if not num_epochs:
        return int(sizes[-1])
    return int(sizes[-1 - max(num_epochs - 1 - epoch, 0) * len(sizes) // num_epochs])


@dataclass(frozen=True)
class EpochCosts:
    """The cost of the epochs of a run, as a fraction of that of an epoch with the last image size and all layers.

    Args:
        sizes: The sizes of the training images in pixels, in the order of their use; empty for one size.
        freeze: The fraction of the run in which only the head is trained.
        frozen_cost: The cost of an epoch in which only the head is trained.
    """

    sizes: Sequence[int] = ()
    freeze: float = 0.0
    frozen_cost: float = 1.0

    def cost(self, epoch: int, num_epochs: int) -> float:
        """Return the cost of an epoch, counted from 0, of a run with a number of epochs."""
        cost = self.frozen_cost if epoch < self.freeze * num_epochs else 1.0
        if self.sizes:
            last, size = self.sizes[-1], get_epoch_size(self.sizes, epoch, num_epochs)
            cost *= (size**2 + FIXED_COST_SIDE**2) / (last**2 + FIXED_COST_SIDE**2)
        return cost

    def total(self, position: float, num_epochs: int) -> float:
        """Return the cost of the rest of a run with a number of epochs, of which `position` are done."""
        first = int(position)
        costs = [self.cost(epoch, num_epochs) for epoch in range(first, num_epochs)]
        return sum(costs) - (position - first) * costs[0] if costs else 0.0

    def fit(self, seconds: float, epoch_seconds: float, *, max_epochs: int, position: float = 0.0) -> float:
        """Return the number of epochs after which a run ends within a time; the last may be a fraction of an epoch.

        Args:
            seconds: The time that is left.
            epoch_seconds: The duration of an epoch of cost 1.
            max_epochs: The largest result.
            position: The number of epochs that are done.
        """
        num_epochs = max_epochs
        while num_epochs > position and self.total(position, num_epochs) * epoch_seconds > seconds:
            num_epochs -= 1
        if num_epochs >= max_epochs:
            return num_epochs
        left = max(seconds / epoch_seconds - self.total(position, num_epochs), 0.0)
        return max(num_epochs, position) + min(left / self.cost(num_epochs, num_epochs + 1), 1.0)


@dataclass(frozen=True)
class BudgetPlan:
    """The time of a run and what is known about it before the first epoch.

    Args:
        end_time: The end of the command in seconds since the epoch.
        report_seconds: The expected duration of calibration, test and report.
        epoch_seconds: The expected duration of an epoch with the last image size and all layers.
        max_epochs: The number of epochs beyond which accuracy does not improve.
        costs: The costs of the epochs.
    """

    end_time: float
    report_seconds: float
    epoch_seconds: float
    max_epochs: int
    costs: EpochCosts = field(default_factory=EpochCosts)

    def training_seconds(self, epoch_seconds: float) -> float:
        """Return the time that is left for training; if epochs are slower than expected, so is the report."""
        slowdown = max(epoch_seconds / self.epoch_seconds, 1.0)
        return max(self.end_time - time.time() - self.report_seconds * slowdown, 0.0)

    def fit_epochs(self) -> float:
        """Return the number of epochs that fit into the rest of the time."""
        seconds = self.training_seconds(self.epoch_seconds)
        return self.costs.fit(seconds, self.epoch_seconds, max_epochs=self.max_epochs)
