"""The `Prediction` for one image."""

from dataclasses import dataclass, field
from typing import Literal

RejectionReason = Literal["low_confidence", "out_of_distribution"]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Args:
        path: The path of the file; None for other inputs.
        label: The name of the most probable class, even if the prediction is rejected; None if the image is unreadable.
        probability: The probability of the most probable class.
        rejected: Whether the prediction is unreliable. False if the image is unreadable.
        rejection_reason: `out_of_distribution` if the similarity is below the minimum, otherwise `low_confidence`; None
            if the prediction is not rejected.
        similarity: The similarity to the training images, at most 1; None if the model does not compute it.
        top_k: The most probable classes with their probabilities, in descending order.
        error: The reason why the image cannot be read.
    """

    path: str | None
    label: str | None = None
    probability: float | None = None
    rejected: bool = False
    rejection_reason: RejectionReason | None = None
    similarity: float | None = None
    top_k: list[tuple[str, float]] = field(default_factory=list)
    error: str | None = None
