"""A measurement of whether a transform, such as a mirror image, changes the class of images.

A quick classifier is trained on original images and asked for others and for their transformed versions. If a transform
preserves the classes, as mirroring does for photos, it gets both equally often right; if left and right are the
classes, it gets the transformed images wrong.
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
Transform = Callable[[Pixels], Pixels]

MAX_IMAGES = 2000
SIDE, PATCH_SIDE, STRIDE = 32, 6, 2  # pixels
NUM_FILTERS = 96
WHITENING, REGULARIZATION = 0.1, 0.1
NUM_FOLDS = 5
CHUNK_SIZE = 100  # images; bounds the memory of the patches
MAX_P_VALUE = 1e-3
# The smallest differences that count. Mirrored, 6 % more photos of faces were wrong (301 photos of happy_sad), and
# 65 % more digits.
MIN_CHANGE, MIN_CLASS_CHANGE = 0.2, 0.5


@dataclass(frozen=True)
class LabelChange:
    """The result of the measurement.

    Args:
        original_errors: The fraction of the original images that are assigned to another class.
        transformed_errors: The fraction of the transformed images that are assigned to another class.
        changed_classes: The labels of the classes whose images change the class.
        is_change: Whether the transform changes classes; None if the classifier is not better than chance.
    """

    original_errors: float
    transformed_errors: float
    changed_classes: tuple[int, ...]
    is_change: bool | None


def measure_label_change(images: Pixels, labels: Labels, transform: Transform) -> LabelChange:
    """Measure whether a transform changes the class of images.

    Every image is classified by a ridge regression on the other folds. A fold contains consecutive images of a class,
    so that the frames of a video, which are often neighbors, are rarely in two folds.

    Args:
        images: The images, uint8 of shape (N, 32, 32, 3), see `shrink`, in the order of their paths.
        labels: The class indices, shape (N,).
        transform: A function of images of shape (N, 32, 32, 3).
    """
    filters = learn_filters(images)
    original, changed = compute_features(images, *filters), compute_features(transform(images), *filters)
    folds, right, still_right = assign_folds(labels), np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    for fold in range(NUM_FOLDS):
        held_out = folds == fold
        if not held_out.any() or held_out.all():
            continue
        predict = fit_ridge(original[~held_out], labels[~held_out])
        right[held_out] = predict(original[held_out]) == labels[held_out]
        still_right[held_out] = predict(changed[held_out]) == labels[held_out]
    counts = np.bincount(labels)
    chance = counts.max() / len(labels)
    errors = (1 - float(right.mean()), 1 - float(still_right.mean()))
    if binomial_tail(int(right.sum()), len(labels), chance) > MAX_P_VALUE:
        return LabelChange(*errors, (), None)
    classes = [
        label
        for label in np.flatnonzero(counts)
        if is_worse(right[labels == label], still_right[labels == label], MIN_CLASS_CHANGE, len(counts))
    ]
    is_change = bool(classes) or is_worse(right, still_right, MIN_CHANGE, 1)
    return LabelChange(*errors, tuple(map(int, classes)), is_change)


def is_worse(right: npt.NDArray[np.bool_], still_right: npt.NDArray[np.bool_], margin: float, num_tests: int) -> bool:
    """Return whether images are less often right after a transform, by a margin and by the exact McNemar test."""
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
