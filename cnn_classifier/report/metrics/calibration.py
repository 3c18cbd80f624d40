"""Temperature scaling, calibration error and rejection thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

# The fractions of images of known classes to reject: 2.5 % for low confidence, and 1.25 % each as out of distribution
# by features and by image statistics.
LOW_CONFIDENCE_FRACTION, OUT_OF_DISTRIBUTION_FRACTION = 0.025, 0.0125
MIN_IMAGES = 20  # fewer do not determine a threshold
RELIABLE_IMAGES = 100  # from here on, shrinkage has no measurable effect, see docs/results.md
TEMPERATURE_BOUNDS = (0.2, 10.0)
TEMPERATURE_PRIOR_STD = 0.4  # of the logarithm; chosen in docs/results.md
NUM_BINS = 15
MIN_BIN_IMAGES = 10  # smaller bins are merged, since the accuracy on a few images says nothing
EPS = 1e-12


@dataclass(frozen=True)
class Calibration:
    """The calibration of a classifier on the validation split.

    Args:
        temperature: The softmax temperature, by which the logits are divided.
        threshold: The minimum probability of the predicted class. Predictions below it are rejected.
        min_similarity: The minimum similarity to the validation images in feature space. Images below it are
            rejected. None disables the check.
    """

    temperature: float
    threshold: float
    min_similarity: float | None


def calibrate(labels: Labels, probabilities: Probabilities, min_similarity: float | None = None) -> Calibration:
    """Fit the temperature and the minimum probability on held-out images.

    Args:
        labels: The true classes, shape (N,).
        probabilities: The predicted probabilities at temperature 1, shape (N, K).
        min_similarity: The minimum similarity, which is determined separately.
    """
    temperature = fit_temperature(labels, probabilities)
    calibrated = apply_temperature(probabilities, temperature)
    correct = calibrated.argmax(axis=1) == labels
    threshold = rejection_threshold(calibrated.max(axis=1)[correct])
    if threshold is None and min_similarity is not None:
        threshold = 0.9 / probabilities.shape[1]  # rejects no prediction, while 0 would disable the similarity as well
    return Calibration(temperature, threshold or 0.0, min_similarity)


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """Return the temperature with the maximum posterior probability under a log-normal prior around 1.

    The likelihood is that of temperature scaling (arXiv:1706.04599). The prior shrinks the temperature towards 1 if the
    images are few, and bounds it if the network makes no mistake or only mistakes.

    Args:
        labels: The true classes, shape (N,).
        probabilities: The predicted probabilities at temperature 1, shape (N, K). Rows that are not finite are ignored.
    """
    finite = np.isfinite(probabilities).all(axis=1)
    labels, probabilities = labels[finite], probabilities[finite]
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = apply_temperature(probabilities, float(np.exp(log_temperature)))
        log_likelihood = np.log(np.maximum(scaled[rows, labels], EPS)).sum()
        return float(0.5 * (log_temperature / TEMPERATURE_PRIOR_STD) ** 2 - log_likelihood)

    bounds = np.log(TEMPERATURE_BOUNDS)
    return round(float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)), 4)


def rejection_threshold(
    scores: npt.NDArray[np.floating[Any]], fraction: float = LOW_CONFIDENCE_FRACTION
) -> float | None:
    """Return the threshold below which a fraction of the images falls.

    It is the k-th lowest score, with k = fraction (N + 1) rounded down: a new image of the same kind is below it with
    an expected probability of k / (N + 1) (conformal prediction, arXiv:2107.07511). If k is 0, the threshold is the
    lowest score, and the expected probability is 1 / (N + 1).

    Args:
        scores: The scores of images to accept, shape (N,).
        fraction: The fraction of such images to reject, from 0 to 1.

    Returns:
        The threshold, rounded down to four decimals, or None for fewer than `MIN_IMAGES` scores.
    """
    scores = scores[np.isfinite(scores)]
    if len(scores) < MIN_IMAGES:
        return None
    rank = max(1, int(fraction * (len(scores) + 1)))
    return float(np.floor(1e4 * float(np.sort(scores)[rank - 1])) / 1e4)


def few_images_warnings(num_images: int) -> list[str]:
    """Return a message if the number of validation images is too small for reliable calibration.

    The fraction of new images below the lowest of N scores has the distribution Beta(1, N), whose 97.5 % quantile is
    reported.
    """
    if not 0 < num_images < RELIABLE_IMAGES:
        return []
    begin = f"Few validation images ({num_images}): the temperature is shrunk towards 1, and "
    end = f" Use at least {RELIABLE_IMAGES} images, for example with a larger dataset.val_fraction."
    if num_images < MIN_IMAGES:
        return [f"{begin}no prediction is rejected, which requires {MIN_IMAGES} images.{end}"]
    worst = 1 - 0.025 ** (1 / num_images)
    return [
        f"{begin}the rejection thresholds are unreliable: each of them may reject up to {100 * worst:.0f} % of the "
        f"images of known classes.{end}"
    ]


def cross_entropy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean negative log-likelihood of the true classes."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-15)).mean())


def apply_temperature(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the probabilities (N, K) after division of the underlying logits by a temperature."""
    logits = np.log(np.maximum(probabilities, EPS)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def reliability_bins(labels: Labels, probabilities: Probabilities) -> list[dict[str, float]]:
    """Return `confidence`, `accuracy` and number of `images` for each confidence bin.

    Bins have equal width. From the highest confidence down, a bin with fewer than `MIN_BIN_IMAGES` images is merged
    with the next one. The last bin may have fewer if there is no other.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    members: list[npt.NDArray[np.bool_]] = []
    for index in np.unique(bins)[::-1]:
        if members and members[-1].sum() < MIN_BIN_IMAGES:
            members[-1] = members[-1] | (bins == index)
        else:
            members.append(bins == index)
    if len(members) > 1 and members[-1].sum() < MIN_BIN_IMAGES:
        members[-2:] = [members[-2] | members[-1]]
    return [
        {
            "confidence": float(confidence[member].mean()),
            "accuracy": float(correct[member].mean()),
            "images": int(member.sum()),
        }
        for member in reversed(members)
    ]


def expected_calibration_error(bins: Sequence[dict[str, float]]) -> float:
    """Return the mean absolute difference of confidence and accuracy, weighted by images (ECE, arXiv:1706.04599)."""
    num_images = sum(row["images"] for row in bins)
    return sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / num_images


def calibration_report(
    labels: Labels, uncalibrated: Probabilities, calibrated: Probabilities, temperature: float
) -> dict[str, Any]:
    """Return the temperature with the reliability bins and the calibration error `ece` before and after scaling."""
    content: dict[str, Any] = {"temperature": temperature}
    for name, probabilities in (("before", uncalibrated), ("after", calibrated)):
        bins = reliability_bins(labels, probabilities)
        content[name] = {"ece": expected_calibration_error(bins), "bins": bins}
    return content
