"""Whether an exported model answers as its checkpoint does, on real images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnn_classifier.data.images.preprocess import decode
from cnn_classifier.data.loading.image_store import StreamedImages
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.errors import CheckpointError
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.evaluate import predict_samples
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.metrics.calibration import Labels

TOLERANCE = 1e-4
# Where the graph resizes: it rounds where Pillow does, but not quite as Pillow does.
ANY_SIZE_TOLERANCE = 0.02
# Of the accuracy, for 8-bit integers.
MAX_ACCURACY_LOSS = 0.005


@dataclass(frozen=True)
class Parity:
    """What was found.

    Args:
        images: How many were looked at.
        same_class: Of how many both named the same class as the likeliest.
        max_difference: Of any probability or familiarity.
        accuracy: Of the export.
        checkpoint_accuracy: On the same images.
    """

    images: int
    same_class: int
    max_difference: float
    accuracy: float
    checkpoint_accuracy: float

    @classmethod
    def from_outputs(cls, labels: Labels, exported: ModelOutput, reference: ModelOutput) -> "Parity":
        """Of the true classes (N,), the export's and the checkpoint's answers."""
        predicted, reference_predicted = exported.probabilities.argmax(axis=1), reference.probabilities.argmax(axis=1)
        return cls(
            images=len(labels),
            same_class=int((predicted == reference_predicted).sum()),
            max_difference=max(
                float(np.abs(one - other).max()) for one, other in zip(exported, reference, strict=True)
            ),
            accuracy=float((predicted == labels).mean()),
            checkpoint_accuracy=float((reference_predicted == labels).mean()),
        )

    def __str__(self) -> str:
        return (
            f"{self.same_class} of {self.images} images with the same class, probabilities within "
            f"{self.max_difference:.1e}, accuracy {self.accuracy:.4f} ({self.checkpoint_accuracy:.4f} before)"
        )


def verify_export(
    exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample], *, int8: bool, any_size: bool
) -> dict[str, Parity]:
    """What an export's trial found: `parity`, and with `any_size` also `parity_of_any_size`.

    Raises:
        CheckpointError: If it must not be used in the checkpoint's place.
    """
    results = {"parity": compare(exported, checkpoint, samples)}
    check_parity(results["parity"], int8=int8)
    if any_size:
        results["parity_of_any_size"] = compare_any_size(exported, checkpoint, samples)
        check_any_size_parity(results["parity_of_any_size"])
    return results


def compare(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """Both models' answers on the same pixels."""
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    labels = np.array([sample.label for sample in samples])
    return Parity.from_outputs(
        labels, *(predict_samples(predictor, images, samples) for predictor in (exported, checkpoint))
    )


def compare_any_size(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """As `compare`, but the export is given images as large as they are, and resizes them itself."""
    pixels = [np.asarray(decode(sample.path, checkpoint.preprocess.channels)) for sample in samples]
    batches = [image.reshape(1, *image.shape[:2], -1) for image in pixels]
    labels = np.array([sample.label for sample in samples])
    exported_output = ModelOutput.concatenate([exported.predict_batch(image) for image in batches])
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    return Parity.from_outputs(labels, exported_output, predict_samples(checkpoint, images, samples))


def check_any_size_parity(parity: Parity) -> None:
    """Raise CheckpointError if the resizing inside an export changes its answers by too much."""
    if parity.max_difference > ANY_SIZE_TOLERANCE:
        raise CheckpointError(
            f"nothing was exported: with its own resizing it answers otherwise than the checkpoint: {parity}; expected "
            f"probabilities within {ANY_SIZE_TOLERANCE}; export without --any-size"
        )


def check_parity(parity: Parity, *, int8: bool) -> None:
    """Raise CheckpointError if an export must not be used in the checkpoint's place."""
    if int8:
        if parity.accuracy < parity.checkpoint_accuracy - MAX_ACCURACY_LOSS:
            raise CheckpointError(
                f"nothing was exported: 8-bit integers lose more than {100 * MAX_ACCURACY_LOSS} points of accuracy: {parity}; "
                "export without --int8"
            )
    elif parity.same_class < parity.images or parity.max_difference > TOLERANCE:
        raise CheckpointError(
            f"nothing was exported: it answers otherwise than the checkpoint: {parity}; expected the same class "
            f"for all and probabilities within {TOLERANCE}"
        )
