"""The time budget of a command: what is left of it, what the work after the training takes, and the plan for it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cnn_classifier.auto.dataset_stats import DatasetStats, estimate_batches
from cnn_classifier.auto.presets import EPOCH_OVERHEAD, HEAD_EPOCH_OVERHEAD
from cnn_classifier.auto.resolved import Recipe
from cnn_classifier.config.compose import mark_auto
from cnn_classifier.config.schema import parse_duration
from cnn_classifier.data import AUTO
from cnn_classifier.data.loading.epochs import BudgetPlan, EpochCosts

# The part that is not planned, for timing noise and the end of the process.
MARGIN_FRACTION, MIN_MARGIN_SECONDS = 0.02, 2.0
# Subtracted from the budget of a job of a sweep: imports, decoding and report.
SWEEP_FRACTION, SWEEP_SECONDS = 0.92, 40.0
# The figures and pages of the report and the end of the process (1,000 test photos, 2 cores); the rest are predictions.
REPORT_SECONDS, REFERENCE_IMAGES = 8.0, 500
FROZEN_COST = 0.4  # of an epoch in which only the head is trained


@dataclass(frozen=True)
class Budget:
    """The time budget of a command, or of a stage of it.

    Args:
        seconds: The duration in seconds.
        start_time: The start in seconds since the epoch. `None` for the jobs of a sweep: what is left of their budget
            does not depend on the clock, so that all jobs resolve to the same values.
    """

    seconds: float
    start_time: float | None

    @property
    def end_time(self) -> float:
        """The planned end in seconds since the epoch."""
        margin = max(MARGIN_FRACTION * self.seconds, MIN_MARGIN_SECONDS)
        return (time.time() if self.start_time is None else self.start_time) + self.seconds - margin

    def remaining(self, reserve: float = 0.0) -> float:
        """Return the seconds that are left for training, negative if there are none.

        Args:
            reserve: The seconds that other work will take.
        """
        if self.start_time is None:
            return max(self.seconds - SWEEP_SECONDS, self.seconds / 2) * SWEEP_FRACTION
        return self.end_time - time.time() - reserve

    def take(self, fraction: float) -> "Budget":
        """Return a budget that starts now, with a fraction of what is left."""
        return Budget(fraction * max(self.remaining(), 0.0), time.time())


def report_seconds(split_sizes: Mapping[str, int], seconds_per_image: float, *, flip: bool) -> float:
    """Estimate the duration of calibration, test and report in seconds.

    Args:
        split_sizes: The number of images of `train`, `val` and `test`.
        seconds_per_image: The duration of inference in float32 per image.
        flip: Whether test images are also mirrored.
    """
    train, val, test = (split_sizes.get(name, 0) for name in ("train", "val", "test"))
    # The calibration also computes the features of up to 500 images of train and of val.
    num_images = val + min(val, REFERENCE_IMAGES) + min(train, REFERENCE_IMAGES) + test * (3 if flip else 1)
    return REPORT_SECONDS + num_images * seconds_per_image


def format_duration(seconds: float) -> str:
    """Return a duration as text, such as `15 minutes` or `90 s`."""
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def get_seconds(values: Mapping[str, Any], num_images: int) -> float:
    """Return the budget in seconds, or `trainer.max_time` if it is shorter, so that schedules end before the run does.

    Args:
        values: The plain configuration.
        num_images: The number of training images, which determines `budget=auto`.
    """
    seconds, max_time = parse_duration(values["budget"], num_images), values["trainer"]["max_time"]
    if isinstance(max_time, str):  # DD:HH:MM:SS; a mapping has the arguments of `timedelta`
        max_time = dict(zip(("days", "hours", "minutes", "seconds"), map(int, max_time.split(":")), strict=True))
    limit = timedelta(**max_time or {}).total_seconds()
    return limit if 0 < limit < seconds else seconds


def plan_epochs(
    recipe: Recipe,
    stats: DatasetStats,
    budget: Budget,
    max_epochs: int,
    seconds_per_step: float,
    inference_seconds: float,
) -> BudgetPlan:
    """Return the plan for the budget, which replaces the preliminary number of epochs.

    Args:
        recipe: The resolved configuration.
        stats: The statistics of the dataset.
        budget: The budget of the command.
        max_epochs: The number of epochs beyond which accuracy does not improve.
        seconds_per_step: The duration of a training step.
        inference_seconds: The duration of inference in float32 per image.
    """
    steps_per_epoch = estimate_batches(recipe.values, stats.num_images)
    freeze = recipe.get("model.freeze") or 0.0
    reserve = report_seconds(stats.split_sizes, inference_seconds, flip=bool(recipe.get("test_time_flip")))
    return BudgetPlan(
        end_time=budget.end_time,
        report_seconds=reserve,
        epoch_seconds=seconds_per_step * steps_per_epoch * (HEAD_EPOCH_OVERHEAD if freeze == 1 else EPOCH_OVERHEAD),
        max_epochs=max_epochs,
        costs=EpochCosts(tuple(recipe.get("dataset.train_sizes") or ()), freeze % 1, FROZEN_COST),
    )


def has_budget(values: Mapping[str, Any]) -> bool:
    """Return whether the budget of a plain configuration determines the length of the run."""
    trainer = mark_auto(values)["trainer"]
    return trainer["max_epochs"] == AUTO and trainer["max_steps"] == -1 and not trainer["fast_dev_run"]
