"""A measurement of whether a transform, such as a mirror image, changes the class of images.

A quick classifier is trained with and without transformed copies of its training images, which keep their labels, and
is asked for held-out originals. If the copies belong to other classes, they contradict the originals, and more of these
are wrong. Copies that only look unusual, such as off-center objects or rotated images, do no harm.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnn_classifier.data.images.preprocess import Pixels

FloatArray = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

MAX_IMAGES = 2000
SIDE, PATCH_SIDE, STRIDE = 32, 6, 2  # pixels
NUM_FILTERS = 96
WHITENING, REGULARIZATION = 0.1, 0.1
NUM_FOLDS = 5
CHUNK_SIZE = 100  # images; bounds the memory of the patches
MAX_P_VALUE = 1e-3
# The smallest differences that count, as fractions of the images that are right without copies. Mirrored copies cost
# 3 % of scikit-learn's digits, and about half of two classes that are mirror images.
MIN_CHANGE, MIN_CLASS_CHANGE = 0.02, 0.25


@dataclass(frozen=True)
class LabelChange:
    """The result of the measurement.

    Args:
        errors: The fraction of held-out originals that are assigned to another class.
        errors_with_copies: The same after training with transformed copies.
        changed_classes: The labels of the classes whose images change the class.
        is_change: Whether the transform changes classes; None if the classifier is not better than chance.
    """

    errors: float
    errors_with_copies: float
    changed_classes: tuple[int, ...]
    is_change: bool | None


class LabelProbe:
    """A quick classifier that measures whether transforms change the class of images.

    Every image is classified by a ridge regression on the other folds. A fold contains consecutive images of a class,
    so that the frames of a video, which are often neighbors, are rarely in two folds.

    Args:
        images: The images, uint8 of shape (N, 32, 32, 3), see `shrink`, in the order of their paths.
        labels: The class indices, shape (N,).
    """

    def __init__(self, images: Pixels, labels: Labels) -> None:
        self.labels, self.counts, self.folds = labels, np.bincount(labels), assign_folds(labels)
        self.filters = learn_filters(images)
        self.features = compute_features(images, *self.filters)
        self.right = self.classify()

    @property
    def is_informative(self) -> bool:
        """True if the classifier is better than always predicting the largest class."""
        chance = self.counts.max() / len(self.labels)
        return binomial_tail(int(self.right.sum()), len(self.labels), chance) <= MAX_P_VALUE

    def classify(self, copies: FloatArray | None = None) -> npt.NDArray[np.bool_]:
        """Return which held-out originals are right, after training on the others and on copies of them."""
        right = np.zeros(len(self.labels), bool)
        for fold in range(NUM_FOLDS):
            held_out = self.folds == fold
            if not held_out.any() or held_out.all():
                continue
            features, labels = self.features[~held_out], self.labels[~held_out]
            if copies is not None:
                features, labels = np.concatenate([features, copies[~held_out]]), np.tile(labels, 2)
            right[held_out] = fit_ridge(features, labels)(self.features[held_out]) == self.labels[held_out]
        return right

    def measure(self, copies: Pixels) -> LabelChange:
        """Measure whether transformed copies of the images, one of each, make the classifier worse."""
        errors = 1 - float(self.right.mean())
        if not self.is_informative:
            return LabelChange(errors, errors, (), None)
        still_right = self.classify(compute_features(copies, *self.filters))
        rows = {label: self.labels == label for label in np.flatnonzero(self.counts).tolist()}
        changed = (k for k, v in rows.items() if is_worse(self.right[v], still_right[v], MIN_CLASS_CHANGE, len(rows)))
        classes = tuple(changed)
        is_change = bool(classes) or is_worse(self.right, still_right, MIN_CHANGE, 1)
        return LabelChange(errors, 1 - float(still_right.mean()), classes, is_change)


def is_worse(right: npt.NDArray[np.bool_], still_right: npt.NDArray[np.bool_], margin: float, num_tests: int) -> bool:
    """Return whether fewer images are right with copies, by a margin and by the exact McNemar test."""
    lost, gained = int((right & ~still_right).sum()), int((~right & still_right).sum())
    p_value = binomial_tail(lost, lost + gained, 0.5) * num_tests
    return lost - gained >= margin * max(1, int(right.sum())) and p_value <= MAX_P_VALUE


def binomial_tail(successes: int, trials: int, probability: float) -> float:
    """Return the probability of at least this many successes."""
    if successes <= 0 or probability >= 1:
        return 1.0
    log_p, log_q = math.log(probability), math.log1p(-probability)
    terms = (
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log_p + (trials - k) * log_q
        for k in range(successes, trials + 1)
    )
    return min(1.0, sum(map(math.exp, terms)))


def assign_folds(labels: Labels) -> Labels:
    """Return the fold of each image: consecutive images of each class, as equal in number as possible."""
    folds = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.arange(len(members)) * NUM_FOLDS // len(members)
    return folds


def shrink(images: Pixels) -> Pixels:
    """Resize images of shape (N, H, W, C) to (N, 32, 32, 3)."""
    resized = [
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        .convert("RGB")
        .resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for image in images
    ]
    return np.stack([np.asarray(image) for image in resized])


def sample_evenly(labels: Sequence[int], limit: int = MAX_IMAGES) -> Labels:
    """Return the sorted indices of about `limit` images, evenly spaced within each class, at least five of each."""
    array, chosen = np.asarray(labels), []
    for label in np.unique(array):
        members = np.flatnonzero(array == label)
        count = min(len(members), max(NUM_FOLDS, limit * len(members) // len(array)))
        chosen.append(members[np.arange(count) * len(members) // count])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def extract_patches(images: Pixels) -> FloatArray:
    """Return contrast-normalized patches, float of shape (N, P, P, D)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH_SIDE, PATCH_SIDE), axis=(1, 2))
    windows = windows[:, ::STRIDE, ::STRIDE]
    patches = windows.reshape(*windows.shape[:3], -1).astype(np.float32)
    patches -= patches.mean(axis=-1, keepdims=True)
    patches /= np.sqrt(patches.var(axis=-1, keepdims=True) + 10)
    return patches


def learn_filters(images: Pixels) -> tuple[FloatArray, FloatArray]:
    """Return the whitening matrix and random whitened patches (Coates and Ng, 2011: nearly as good as k-means)."""
    generator = np.random.default_rng(0)
    patches = extract_patches(images[:: max(1, len(images) // 300)])
    patches = patches.reshape(-1, patches.shape[-1])
    patches = patches[generator.permutation(len(patches))[:20_000]]
    values, vectors = np.linalg.eigh(np.cov(patches.T))
    whitening = (vectors / np.sqrt(values.clip(0) + WHITENING)) @ vectors.T
    whitened = patches @ whitening
    norms = np.linalg.norm(whitened, axis=1)
    textured = whitened[norms >= np.median(norms)]
    filters = textured[generator.permutation(len(textured))[:NUM_FILTERS]]
    return whitening.astype(np.float32), (filters / np.linalg.norm(filters, axis=1, keepdims=True)).astype(np.float32)


def compute_features(images: Pixels, whitening: FloatArray, filters: FloatArray) -> FloatArray:
    """Return the filter responses summed over quadrants, and the colors of an 8 x 8 grid, shape (N, F)."""
    blocks = []
    projection = whitening @ filters.T
    for start in range(0, len(images), CHUNK_SIZE):
        chunk = images[start : start + CHUNK_SIZE]
        responses = extract_patches(chunk) @ projection
        responses = np.concatenate([np.maximum(responses - 0.5, 0), np.maximum(-responses - 0.5, 0)], axis=-1)
        half = responses.shape[1] // 2
        pooled = responses.reshape(len(chunk), 2, half, 2, half, -1).mean(axis=(2, 4)).reshape(len(chunk), -1)
        colors = chunk.reshape(len(chunk), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(len(chunk), -1) / 255
        blocks.append(np.concatenate([pooled, colors.astype(np.float32)], axis=1))
    return np.concatenate(blocks)


def fit_ridge(features: FloatArray, labels: Labels) -> Callable[[FloatArray], Labels]:
    """Return the classifier of a ridge regression on standardized features."""
    mean, std = features.mean(axis=0), features.std(axis=0) + 1e-3
    scaled, classes = (features - mean) / std, np.unique(labels)
    targets = (labels[:, None] == classes).astype(np.float32)
    bias = targets.mean(axis=0)
    penalty = REGULARIZATION * len(scaled)
    if len(scaled) < scaled.shape[1]:
        weights = scaled.T @ np.linalg.solve(scaled @ scaled.T + penalty * np.eye(len(scaled)), targets - bias)
    else:
        weights = np.linalg.solve(scaled.T @ scaled + penalty * np.eye(scaled.shape[1]), scaled.T @ (targets - bias))
    return lambda rows: classes[((rows - mean) / std @ weights + bias).argmax(axis=1)]
