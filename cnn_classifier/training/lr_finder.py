"""Learning-rate range test: increase the learning rate exponentially and record the loss (arXiv:1506.01186)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from tqdm import tqdm

from cnn_classifier.errors import ConfigError, DataError, single_line
from cnn_classifier.models.finetuning import FineTunable
from cnn_classifier.progress import progress_bar

MIN_LR_FACTOR, MAX_LR_FACTOR = 1e-3, 30.0  # range of the test, relative to the configured learning rate
DIVERGENCE_FACTOR = 3.0  # the test stops when the smoothed loss exceeds its minimum by this factor
SMOOTHING = 0.9  # decay of the exponential moving average of the loss
FINE_TUNING_PROGRESS = 0.5  # fraction of a run whose trainable blocks are tested


@dataclass(frozen=True)
class LRFinderResult:
    """The result of a learning-rate range test.

    Args:
        lrs: The learning rate of each step.
        losses: The smoothed training loss of each step.
        default_lr: The configured learning rate.
        suggested_lr: The learning rate at which the loss falls fastest.
    """

    lrs: Sequence[float]
    losses: Sequence[float]
    default_lr: float
    suggested_lr: float

    @property
    def best_lr(self) -> float:
        """The learning rate at the minimum of the loss, which is too high for a whole training."""
        return self.lrs[self.losses.index(min(self.losses))]

    @property
    def is_default_suitable(self) -> bool:
        """True if the loss is decreasing at the configured learning rate."""
        return self.suggested_lr <= self.default_lr <= self.best_lr


def find_lr(
    module: LightningModule, datamodule: LightningDataModule, *, steps: int = 100, **trainer_kwargs: Any
) -> LRFinderResult:
    """Run a learning-rate range test. It writes no files; the weights of the module are not usable afterwards.

    Args:
        module: The module to train, with its initial weights; `configure_optimizers` sets the learning rate.
        datamodule: The data module with the training images.
        steps: The maximum number of optimizer steps. The test stops earlier if the loss diverges.
        **trainer_kwargs: Arguments of the Lightning `Trainer`, such as `accelerator` and `precision`.

    Raises:
        ConfigError: If Lightning rejects the arguments of the `Trainer`.
        DataError: If the loss does not decrease at any learning rate.
    """
    range_test = LRRangeTest(steps)
    fixed_kwargs = {
        "max_steps": steps,
        "max_epochs": -1,
        "limit_val_batches": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "callbacks": [range_test],
    }
    try:
        trainer = Trainer(**(trainer_kwargs | fixed_kwargs))
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(f"trainer: {single_line(error)}") from error
    try:
        trainer.fit(module, datamodule=datamodule)
    except SystemExit as error:  # Lightning exits with 1 on Ctrl-C
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    lrs = range_test.lrs[: len(range_test.losses)]
    return LRFinderResult(lrs, range_test.losses, range_test.default_lr, steepest_lr(lrs, range_test.losses))


class LRRangeTest(Callback):
    """A `Callback` that increases the learning rate exponentially and records the smoothed loss of each step.

    The learning rates of parameter groups keep their ratios. The schedulers of the module are removed.

    Args:
        steps: The number of optimizer steps.
    """

    def __init__(self, steps: int) -> None:
        step_fractions = [step / max(steps - 1, 1) for step in range(steps)]
        self.factors = [MIN_LR_FACTOR * (MAX_LR_FACTOR / MIN_LR_FACTOR) ** fraction for fraction in step_fractions]
        self.default_lr = 0.0
        self.losses: list[float] = []
        self.ema_loss = 0.0  # without bias correction
        self.batch_losses: list[float] = []  # of the current optimizer step: several if gradients are accumulated
        self.progress_bar: tqdm[Any] | None = None

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each step."""
        return [self.default_lr * factor for factor in self.factors]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.strategy.lr_scheduler_configs = []
        self.default_lr = float(trainer.optimizers[0].defaults["lr"])
        param_groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        # A scheduler has already applied its first step to `lr` and saved the configured value.
        self.base_lrs = [(group, group.get("initial_lr", group["lr"])) for group in param_groups]
        self.progress_bar = progress_bar(description="learning-rate range test", total=len(self.factors), unit="step")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if isinstance(network := getattr(pl_module, "network", None), FineTunable):
            # Without `max_epochs`, the module sets the progress to the end of a run.
            network.set_progress(FINE_TUNING_PROGRESS)
        for group, base_lr in self.base_lrs:
            group["lr"] = base_lr * self.factors[trainer.global_step]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        self.batch_losses.append(float(outputs["loss"]))
        if trainer.global_step == len(self.losses):  # the optimizer step needs more batches
            return
        loss, self.batch_losses = sum(self.batch_losses) / len(self.batch_losses), []
        self.ema_loss = SMOOTHING * self.ema_loss + (1 - SMOOTHING) * loss
        smoothed_loss = self.ema_loss / (1 - SMOOTHING ** (len(self.losses) + 1))
        if not math.isfinite(smoothed_loss) or smoothed_loss > DIVERGENCE_FACTOR * min([*self.losses, smoothed_loss]):
            trainer.should_stop = True
            return
        self.losses.append(smoothed_loss)
        if self.progress_bar is not None:
            self.progress_bar.update()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.progress_bar is not None:
            self.progress_bar.close()


def steepest_lr(lrs: Sequence[float], losses: Sequence[float]) -> float:
    """Return the learning rate with the steepest decrease of the loss, before the minimum of the loss.

    The slope is taken over the logarithm of the learning rate and a window of a tenth of the steps, since the loss of
    single batches is noisy. The first steps are excluded, since their moving average covers few batches.

    Args:
        lrs: The learning rate of each step, equally spaced on a logarithmic scale.
        losses: The smoothed loss of each step.

    Raises:
        DataError: If the loss does not decrease.
    """
    end = losses.index(min(losses)) if losses else 0
    window = max(1, len(losses) // 10)
    indices = range(len(losses) // 10 + window, end)
    if not indices:
        raise DataError("The loss does not decrease at any learning rate: check the labels or increase --steps")
    return lrs[min(indices, key=lambda index: losses[min(index + window, end)] - losses[index - window])]
