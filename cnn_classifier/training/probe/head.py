"""A linear head, fitted in closed form by ridge regression on class indicators, with out-of-fold predictions."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

NUM_FOLDS = 5
# The penalty per image on standardized features, and the factor from scores, which are near 0 and 1, to logits.
PENALTIES = tuple(10 ** (exponent / 2) for exponent in range(-6, 5))
DEFAULT_PENALTY, DEFAULT_SCALE = 1.0, 10.0  # if there are too few images to choose them
SCALES = tuple(math.exp(exponent / 5) for exponent in range(27))  # 1 to 181
MIN_STD = 1e-4  # of a feature, relative to the largest; limits the weight of features that are nearly constant
MAX_SCORES = 1 << 20  # of a fold and a penalty that are computed at once, and by which penalty and scale are chosen


@dataclass(frozen=True)
class LinearHead:
    """A linear layer on features, with the quality of its out-of-fold predictions.

    Args:
        weight: The weights, shape (K, D).
        bias: The biases, shape (K,).
        penalty: The chosen penalty per image.
        correct: Whether the out-of-fold prediction of each image is right, bool of shape (N,).
        loss: The mean cross-entropy of the out-of-fold predictions.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    correct: Tensor
    loss: float

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits (N, K) of features (N, D)."""
        return features.float() @ self.weight.T + self.bias


def fit_head(features: Tensor, labels: Tensor, num_classes: int) -> LinearHead:
    """Fit a linear head.

    A ridge regression on standardized features predicts the indicators of the classes. The penalty, and the factor from
    these scores to logits, have the lowest cross-entropy of all in a cross-validation.

    Args:
        features: The features of the training images, shape (N, D), with similar images next to each other.
        labels: Their class indices, shape (N,).
        num_classes: The number of classes K.
    """
    features = features.double()
    mean, std = features.mean(dim=0), features.std(dim=0, correction=0)
    std = std.clamp(min=MIN_STD * max(float(std.max()), MIN_STD))
    scaled = (features - mean) / std
    penalty, scale, loss, correct = DEFAULT_PENALTY, DEFAULT_SCALE, math.log(num_classes), torch.zeros(len(labels))
    with single_thread():
        folds = assign_folds(labels)
        held_out = [rows for rows in (folds == fold for fold in range(NUM_FOLDS)) if rows.any() and not rows.all()]
        if held_out:
            losses, results = zip(*(evaluate_fold(scaled, labels, num_classes, rows) for rows in held_out), strict=True)
            mean_losses = torch.stack(losses).sum(dim=0) / len(labels)
            row, column = divmod(int(mean_losses.argmin()), len(SCALES))
            penalty, scale, loss = PENALTIES[row], SCALES[column], float(mean_losses.min())
            for rows, result in zip(held_out, results, strict=True):
                correct[rows] = result[row].float()
        weight, bias = RidgePath(scaled, labels, num_classes).coefficients(penalty)
    weight = weight.T / std * scale
    return LinearHead(weight.float(), (bias * scale - weight @ mean).float(), penalty, correct.bool(), loss)


@contextmanager
def single_thread() -> Iterator[None]:
    """Use one thread: an eigendecomposition with two takes ten times as long if other processes are running."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def assign_folds(labels: Tensor) -> Tensor:
    """Return the fold of each image: consecutive images of each class, so that similar ones are in one fold."""
    folds = torch.zeros(len(labels), dtype=torch.long)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        folds[members] = torch.arange(len(members)) * NUM_FOLDS // len(members)
    return folds


def evaluate_fold(features: Tensor, labels: Tensor, num_classes: int, held_out: Tensor) -> tuple[Tensor, Tensor]:
    """Fit regressions to all images but those of a fold, and evaluate them on these.

    Args:
        features: The standardized features, float64 of shape (N, D).
        labels: The class indices, shape (N,).
        num_classes: The number of classes K.
        held_out: The images of the fold, bool of shape (N,).

    Returns:
        The sum of the cross-entropies for each of `PENALTIES` and `SCALES`, estimated from a part of the images if
        there are many scores, and for each penalty whether the predictions are right.
    """
    path = RidgePath(features[~held_out], labels[~held_out], num_classes)
    features, labels = features[held_out], labels[held_out]
    step = math.ceil(len(labels) * num_classes / MAX_SCORES)
    losses, results = [], []
    for penalty in PENALTIES:
        weight, bias = path.coefficients(penalty)
        chunks = features.split(max(MAX_SCORES // num_classes, 1))
        results.append(torch.cat([(rows @ weight + bias).argmax(dim=1) for rows in chunks]) == labels)
        scores = (features[::step] @ weight + bias).float()
        entropies = [functional.cross_entropy(scores * scale, labels[::step]) for scale in SCALES]
        losses.append(torch.stack(entropies) * len(labels))
    return torch.stack(losses), torch.stack(results)


class RidgePath:
    """Ridge regressions on class indicators, for any penalty after one eigendecomposition.

    Args:
        features: The standardized features, float64 of shape (N, D).
        labels: The class indices, shape (N,).
        num_classes: The number of classes K.
    """

    def __init__(self, features: Tensor, labels: Tensor, num_classes: int) -> None:
        self.num_images, self.mean = len(features), features.mean(dim=0)
        self.frequencies = torch.bincount(labels, minlength=num_classes).double() / len(labels)
        centered = features - self.mean
        sums = torch.zeros(num_classes, features.shape[1], dtype=torch.double).index_add_(0, labels, centered)
        if len(features) < features.shape[1]:  # the decomposition of the smaller matrix
            values, vectors = torch.linalg.eigh(centered @ centered.T)
            is_positive = values > 1e-9 * values[-1].clamp(min=1e-9)
            self.values = values[is_positive]
            self.vectors = centered.T @ (vectors[:, is_positive] / self.values.sqrt())
        else:
            self.values, self.vectors = torch.linalg.eigh(centered.T @ centered)
        self.projections = self.vectors.T @ sums.T  # (R, K)

    def coefficients(self, penalty: float) -> tuple[Tensor, Tensor]:
        """Return the weights (D, K) and the biases (K,)."""
        weight = self.vectors @ (self.projections / (self.values + penalty * self.num_images)[:, None])
        return weight, self.frequencies - self.mean @ weight
