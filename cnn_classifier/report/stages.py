"""The results of the stages of a run with `model=auto`: which one is best, and the file that keeps them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cnn_classifier.files import STAGES_FILE, write_json
from cnn_classifier.report.formatting import format_duration
from cnn_classifier.report.metrics.intervals import wilson_interval


@dataclass(frozen=True)
class StageResult:
    """The result of a stage.

    Args:
        name: The name of the stage.
        metrics: The metrics on the validation images, `val/NAME`, of the best epoch; empty if there are none.
        num_images: The number of validation images.
        out_of_fold: The accuracy of the out-of-fold predictions of the training images, for the probe.
        num_train_images: The number of training images.
        seconds: The duration of the stage; 0 as long as it is running.
        decision: What follows, with the reason.
    """

    name: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    num_images: int = 0
    out_of_fold: float | None = None
    num_train_images: int = 0
    seconds: float = 0.0
    decision: str = ""

    @property
    def accuracy(self) -> float:
        """The accuracy on the validation images."""
        return self.metrics.get("val/accuracy", 0.0)

    def __str__(self) -> str:
        """Return the line that is printed."""
        parts = []
        if self.out_of_fold is not None:
            parts.append(describe_accuracy(self.out_of_fold, self.num_train_images, "training images, out of fold"))
        if self.metrics:
            parts.append(describe_accuracy(self.accuracy, self.num_images, "validation images"))
        return f"{self.name}, {format_duration(self.seconds)}: {'; '.join(parts) or 'not measured'}"

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of `report.json`."""
        interval = wilson_interval(self.accuracy, self.num_images) if self.metrics else None
        return asdict(self) | {"accuracy_interval": interval}


def save_stages(run_dir: Path, results: Sequence[StageResult]) -> None:
    """Save the results of all stages, the last of which may be running."""
    write_json(run_dir / STAGES_FILE, [asdict(result) for result in results])


def load_stages(run_dir: Path) -> list[StageResult]:
    """Load the results of the stages of a run; empty if it has no stages."""
    path = run_dir / STAGES_FILE
    return [StageResult(**item) for item in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def complete_stages(
    stages: Sequence[StageResult],
    epochs: Sequence[Mapping[str, float]],
    num_images: int,
    seconds: float,
    monitor: tuple[str, str],
) -> list[StageResult]:
    """Return the results of all stages, the last one with the metrics of its best epoch.

    Args:
        stages: The results, of which the last is that of a running stage.
        epochs: The metrics of each epoch of this stage.
        num_images: The number of validation images.
        seconds: The duration of the stage.
        monitor: The metric that determines the best epoch, and its mode.
    """
    results = [replace(stages[-1], metrics={k: v for k, v in row.items() if k.startswith("val/")}) for row in epochs]
    last = pick_best(results, monitor) if results else stages[-1]
    best = pick_best([*stages[:-1], last], monitor)
    decision = f"the best model is that of {best.name}"
    return [*stages[:-1], replace(last, num_images=num_images, seconds=seconds, decision=decision)]


def pick_best(results: Sequence[StageResult], monitor: tuple[str, str]) -> StageResult:
    """Return the result with the best metric, the earliest of equal ones; the last result if none has the metric."""
    metric, mode = monitor
    measured = [result for result in results if metric in result.metrics]
    find = max if mode == "max" else min
    return find(measured, key=lambda result: result.metrics[metric]) if measured else results[-1]


def describe_accuracy(accuracy: float, num_images: int, noun: str) -> str:
    """Return an accuracy with its 95 % confidence interval."""
    low, high = wilson_interval(accuracy, num_images)
    return f"accuracy {accuracy:.1%} ({low:.1%} to {high:.1%}) on {num_images:,} {noun}"
