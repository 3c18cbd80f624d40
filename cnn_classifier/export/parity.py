"""Whether an exported model answers as its checkpoint does, on real images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cnn_classifier.data.folder import Sample
from cnn_classifier.data.store import StreamedImages
from cnn_classifier.errors import CheckpointError
from cnn_classifier.evaluate import evaluate_images
from cnn_classifier.predictor import Predictor

TOLERANCE = 1e-4
# Of the accuracy, for 8-bit integers.
MOST_LOST = 0.005


@dataclass(frozen=True)
class Parity:
    """What was found.

    Args:
        images: How many were looked at.
        same_class: Of how many both named the same class as the likeliest.
        largest_difference: Of any probability.
        accuracy: Of the export.
        accuracy_of_checkpoint: On the same images.
    """

    images: int
    same_class: int
    largest_difference: float
    accuracy: float
    accuracy_of_checkpoint: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.same_class} of {self.images} images with the same class, probabilities within "
            f"{self.largest_difference:.1e}, accuracy {self.accuracy:.4f} ({self.accuracy_of_checkpoint:.4f} before)"
        )


def compare(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """Both models' answers on the same pixels."""
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    ours, theirs = (evaluate_images(predictor, images, samples) for predictor in (exported, checkpoint))
    return Parity(
        images=len(samples),
        same_class=int((ours.predicted == theirs.predicted).sum()),
        largest_difference=float(np.abs(ours.probabilities - theirs.probabilities).max()),
        accuracy=float((ours.predicted == ours.labels).mean()),
        accuracy_of_checkpoint=float((theirs.predicted == theirs.labels).mean()),
    )


def require_parity(parity: Parity, *, int8: bool) -> None:
    """Raise CheckpointError if an export must not be used in the checkpoint's place."""
    if int8:
        if parity.accuracy < parity.accuracy_of_checkpoint - MOST_LOST:
            raise CheckpointError(
                f"nothing was exported: 8-bit integers lose more than {100 * MOST_LOST} points of accuracy: {parity}; "
                "export without --int8"
            )
    elif parity.same_class < parity.images or parity.largest_difference > TOLERANCE:
        raise CheckpointError(
            f"nothing was exported: it answers otherwise than the checkpoint: {parity}; expected the same class "
            f"for all and probabilities within {TOLERANCE}"
        )
