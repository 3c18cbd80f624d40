"""Whether an exported model answers as its checkpoint does, on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnn_classifier.data.folder import Sample
from cnn_classifier.data.preprocess import decode
from cnn_classifier.data.store import StreamedImages
from cnn_classifier.engines import Answers
from cnn_classifier.errors import CheckpointError
from cnn_classifier.evaluate import look_at
from cnn_classifier.predictor import Predictor
from cnn_classifier.report.calibration import Labels

TOLERANCE = 1e-4
# Where the graph resizes: it rounds where Pillow does, but not quite as Pillow does.
TOLERANCE_OF_ANY_SIZE = 0.02
# Of the accuracy, for 8-bit integers.
MOST_LOST = 0.005


@dataclass(frozen=True)
class Parity:
    """What was found.

    Args:
        images: How many were looked at.
        same_class: Of how many both named the same class as the likeliest.
        largest_difference: Of any probability or familiarity.
        accuracy: Of the export.
        accuracy_of_checkpoint: On the same images.
    """

    images: int
    same_class: int
    largest_difference: float
    accuracy: float
    accuracy_of_checkpoint: float

    @classmethod
    def of(cls, labels: Labels, ours: Answers, theirs: Answers) -> "Parity":
        """Of the true classes (N,), the export's and the checkpoint's answers."""
        said, said_before = ours.probabilities.argmax(axis=1), theirs.probabilities.argmax(axis=1)
        return cls(
            images=len(labels),
            same_class=int((said == said_before).sum()),
            largest_difference=max(float(np.abs(one - other).max()) for one, other in zip(ours, theirs, strict=True)),
            accuracy=float((said == labels).mean()),
            accuracy_of_checkpoint=float((said_before == labels).mean()),
        )

    def __str__(self) -> str:
        return (
            f"{self.same_class} of {self.images} images with the same class, probabilities within "
            f"{self.largest_difference:.1e}, accuracy {self.accuracy:.4f} ({self.accuracy_of_checkpoint:.4f} before)"
        )


def try_export(
    exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample], *, int8: bool, any_size: bool
) -> dict[str, Parity]:
    """What an export's trial found: `parity`, and with `any_size` also `parity_of_any_size`.

    Raises:
        CheckpointError: If it must not be used in the checkpoint's place.
    """
    found = {"parity": compare(exported, checkpoint, samples)}
    require_parity(found["parity"], int8=int8)
    if any_size:
        found["parity_of_any_size"] = compare_any_size(exported, checkpoint, samples)
        require_any_size(found["parity_of_any_size"])
    return found


def compare(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """Both models' answers on the same pixels."""
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    labels = np.array([sample.label for sample in samples])
    return Parity.of(labels, *(look_at(predictor, images, samples) for predictor in (exported, checkpoint)))


def compare_any_size(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """As `compare`, but the export is given images as large as they are, and resizes them itself."""
    pixels = [np.asarray(decode(sample.path, checkpoint.preprocess.channels)) for sample in samples]
    shaped = [image.reshape(1, *image.shape[:2], -1) for image in pixels]
    labels = np.array([sample.label for sample in samples])
    ours = Answers.joined([exported.look(image) for image in shaped])
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    return Parity.of(labels, ours, look_at(checkpoint, images, samples))


def require_any_size(parity: Parity) -> None:
    """Raise CheckpointError if the resizing inside an export changes its answers by too much."""
    if parity.largest_difference > TOLERANCE_OF_ANY_SIZE:
        raise CheckpointError(
            f"nothing was exported: with its own resizing it answers otherwise than the checkpoint: {parity}; expected "
            f"probabilities within {TOLERANCE_OF_ANY_SIZE}; export without --any-size"
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
