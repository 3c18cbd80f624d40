"""A callback that keeps a run within its budget by changing the number of epochs that are left."""

import math
import time
from collections import deque
from dataclasses import asdict
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from cnn_classifier.config.trainer import PLANNED_LENGTHS
from cnn_classifier.data.loading.epochs import BudgetPlan, EpochCosts
from cnn_classifier.lightning_internals import num_batches_done, set_max_epochs

WARMUP_BATCHES = 2  # the first batches of a process are slower
PLANS_PER_EPOCH = 10
VALIDATION_OVERHEAD = 1.1  # factor of the duration of an epoch until the first validation
# The smallest change of the length of a run, as a fraction, and the smallest that is printed.
MIN_CHANGE, MIN_PRINTED_CHANGE = 0.02, 0.1


class BudgetGuard(Callback):
    """A `Callback` that measures the epochs and changes their number so that the training ends in time.

    The last epoch may be a part of one. The learning rate of `onecycle` and `cosine` and the image sizes depend on the
    completed fraction of the run, and follow. The state is part of the checkpoint; a resumed run has the time that was
    left. Without a plan, a run is not changed.

    Args:
        plan: The plan, None for runs of a fixed length and resumed runs.
    """

    def __init__(self, plan: BudgetPlan | None) -> None:
        self.plan = plan
        self.configured_epochs = 0
        self.length = self.printed_length = 0.0  # the planned number of epochs
        self.val_seconds = 0.0
        self.num_timed, self.total_cost = 0, 0.0  # the batches of this process
        self.marks: deque[tuple[float, float]] = deque(maxlen=2)  # time and total cost at the start of recent epochs

    def state_dict(self) -> dict[str, Any]:
        if self.plan is None:
            return {}
        state = {name: getattr(self, name) for name in ("configured_epochs", "length", "val_seconds")}
        return state | {"plan": asdict(self.plan), "seconds_left": self.plan.end_time - time.time()}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        state = dict(checkpoint.get("callbacks", {}).get(self.state_key, {}))
        if not state or state["configured_epochs"] != trainer.max_epochs:  # the user has set another number
            return
        values = state.pop("plan") | {"end_time": time.time() + state.pop("seconds_left")}
        self.plan = BudgetPlan(**values | {"costs": EpochCosts(**values["costs"])})
        vars(self).update(state, printed_length=state["length"])
        set_max_epochs(trainer, math.ceil(self.length))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.plan is None or not trainer.max_epochs or trainer.max_epochs < 0 or not self.num_batches(trainer):
            self.plan = None
            return
        self.configured_epochs = self.configured_epochs or trainer.max_epochs
        num_batches = self.num_batches(trainer)
        # After the last batch, the number is reset when the next epoch starts.
        position = trainer.current_epoch + num_batches_done(trainer) % num_batches / num_batches
        length = self.fit_length(trainer, self.plan, self.plan.epoch_seconds, position)
        self.change_length(trainer, trainer.strategy.broadcast(length), position)

    def num_batches(self, trainer: Trainer) -> int:
        """Return the number of training batches per epoch, 0 if it is unknown."""
        return int(trainer.num_training_batches) if math.isfinite(trainer.num_training_batches) else 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.plan is None:
            return
        self.epoch_cost = self.plan.costs.cost(trainer.current_epoch, math.ceil(self.length))
        if self.marks:  # the time of the first epoch starts after a few batches
            self.marks.append((time.time(), self.total_cost))

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if self.plan is None:
            return
        num_batches, done = self.num_batches(trainer), num_batches_done(trainer)
        self.total_cost += self.epoch_cost / num_batches
        self.num_timed += 1
        if not self.marks:
            if self.num_timed == WARMUP_BATCHES:
                self.marks.append((time.time(), self.total_cost))
            return
        if done % max(num_batches // PLANS_PER_EPOCH, 1) == 0 and done < num_batches:
            self.replan(trainer, self.plan, trainer.current_epoch + done / num_batches)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validation_start = time.time()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.val_seconds = time.time() - self.validation_start

    def replan(self, trainer: Trainer, plan: BudgetPlan, position: float) -> None:
        """Compute the length of the run from the duration of the latest epochs, and stop if it is reached.

        Args:
            trainer: The `Trainer`.
            plan: The plan.
            position: The number of epochs that are done.
        """
        start_time, start_cost = self.marks[0]
        overhead = 1 if len(self.marks) > 1 or not trainer.enable_validation else VALIDATION_OVERHEAD
        epoch_seconds = overhead * (time.time() - start_time) / max(self.total_cost - start_cost, 1e-9)
        length = trainer.strategy.broadcast(self.fit_length(trainer, plan, epoch_seconds, position))
        is_over = length <= position
        if is_over or abs(length - self.length) > MIN_CHANGE * self.length:
            self.change_length(trainer, max(length, position), position)
        if position >= self.length:
            trainer.should_stop = True

    def fit_length(self, trainer: Trainer, plan: BudgetPlan, epoch_seconds: float, position: float) -> float:
        """Return the number of epochs that fit into the rest of the time, if an epoch takes `epoch_seconds`."""
        seconds = plan.training_seconds(epoch_seconds) - self.val_seconds
        longest = plan.max_epochs if can_extend(trainer) else math.ceil(self.length or trainer.max_epochs or 1)
        return plan.costs.fit(max(seconds, 0.0), epoch_seconds, max_epochs=longest, position=position)

    def change_length(self, trainer: Trainer, length: float, position: float = 0.0) -> None:
        """Set the number of epochs, of which the last may be a part, and the length of the schedules."""
        num_batches = self.num_batches(trainer)
        self.length = max(length, 1 / num_batches)
        set_max_epochs(trainer, math.ceil(self.length))
        steps_per_epoch = math.ceil(num_batches / trainer.accumulate_grad_batches)
        for config in trainer.lr_scheduler_configs:
            if set_length := getattr(config.scheduler, "set_length", None):
                set_length(max(round(self.length * (steps_per_epoch if config.interval == "step" else 1)), 1))
        if position and abs(self.length - self.printed_length) > MIN_PRINTED_CHANGE * self.printed_length:
            if trainer.is_global_zero:
                tqdm.write(f"{self.length:.1f} epochs fit into the budget instead of {self.printed_length:.1f}")
            self.printed_length = self.length
        self.printed_length = self.printed_length or self.length


def can_extend(trainer: Trainer) -> bool:
    """Return whether the schedules allow a longer run: those of torch with a planned length do not."""
    planned = {key for key in PLANNED_LENGTHS if trainer.lightning_module.hparams["scheduler"].get(key, 0) is None}
    return not planned or all(hasattr(config.scheduler, "set_length") for config in trainer.lr_scheduler_configs[:1])
