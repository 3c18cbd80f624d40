"""The task: loss and metrics of multiclass classification."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from cnn_classifier.errors import ConfigError

DEFAULT_LOSS = {"label_smoothing": 0.0, "class_weights": None}


def build_loss(loss: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Build the training loss.

    Args:
        loss: `label_smoothing` in [0, 1], and `class_weights`, a list of `num_classes` values or None.
        num_classes: The number of classes K.

    Raises:
        ConfigError: If the number of class weights differs from K.
    """
    weights = loss["class_weights"]
    if weights is not None and len(weights) != num_classes:
        raise ConfigError(f"loss.class_weights={list(weights)}: expected {num_classes} values, one per class")
    return nn.CrossEntropyLoss(
        weight=None if weights is None else torch.tensor(weights, dtype=torch.float32),
        label_smoothing=loss["label_smoothing"],
    )


class MacroF1(MulticlassF1Score):
    """The mean F1 of the classes that have images; torchmetrics also counts predicted classes without images, as 0."""

    def compute(self) -> Tensor:
        tp, fp, fn = (cast(Tensor, counts) for counts in (self.tp, self.fp, self.fn))
        has_images = tp + fn > 0
        f1 = 2 * tp / (2 * tp + fp + fn).clamp(min=1)
        return (f1 * has_images).sum() / has_images.sum().clamp(min=1)


def resolve_loss(loss: Mapping[str, Any], class_counts: Sequence[int]) -> dict[str, Any]:
    """Replace `class_weights=balanced` by numbers: all classes with training images get the same total weight.

    Args:
        loss: The config of the loss.
        class_counts: The number of training images of each class.
    """
    if loss["class_weights"] != "balanced":
        return dict(loss)
    mean = sum(class_counts) / sum(count > 0 for count in class_counts)
    return dict(loss) | {"class_weights": [mean / count if count else 1.0 for count in class_counts]}


class StageMetrics(nn.Module):
    """The metrics of one stage (train, val or test).

    Args:
        num_classes: The number of classes K.
        names: The metrics to compute, of "loss", "accuracy" and "f1_macro".
    """

    def __init__(self, num_classes: int, names: Sequence[str] = ("loss", "accuracy", "f1_macro")) -> None:
        super().__init__()
        metrics: dict[str, Metric] = {
            "loss": MeanMetric(nan_strategy="disable"),  # a diverged loss must stay visible
            # `validate_args` would synchronize with the device in every step.
            "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
            "f1_macro": MacroF1(num_classes, average="macro", validate_args=False),
        }
        self.metrics = nn.ModuleDict({name: metrics[name] for name in names})

    def items(self) -> Iterator[tuple[str, Metric]]:
        """Iterate over names and metrics."""
        return ((name, cast(Metric, metric)) for name, metric in self.metrics.items())

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: The loss of the batch (), or of each image (B,).
            logits: The logits, shape (B, K).
            labels: The class indices, shape (B,).
        """
        for name, metric in self.items():
            if name == "loss":
                metric.update(loss, 1 if loss.ndim else len(labels))  # batches differ in size
            else:
                metric.update(logits, labels)
