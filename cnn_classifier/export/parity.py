"""Comparison of the predictions of an exported model and its checkpoint on real images."""

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

TOLERANCE = 1e-4  # of probabilities and similarities
# The graph resizes in floating point, Pillow in fixed point, so rounding differs slightly.
ANY_SIZE_TOLERANCE = 0.02
MAX_ACCURACY_LOSS = 0.005  # of 8-bit integers


@dataclass(frozen=True)
class Parity:
    """The agreement of an exported model with its checkpoint.

    Args:
        images: The number of images compared.
        same_class: The number of images for which both predict the same class.
        max_difference: The maximum absolute difference of any probability or similarity.
        accuracy: The accuracy of the exported model.
        checkpoint_accuracy: The accuracy of the checkpoint on the same images.
    """

    images: int
    same_class: int
    max_difference: float
    accuracy: float
    checkpoint_accuracy: float

    @classmethod
    def from_outputs(cls, labels: Labels, exported: ModelOutput, reference: ModelOutput) -> "Parity":
        """Compare two model outputs.

        Args:
            labels: The true classes, int64 (N,).
            exported: The output of the exported model for N images.
            reference: The output of the checkpoint for the same images.
        """
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
        """Format the result as one line."""
        return (
            f"same class for {self.same_class} of {self.images} images, maximum difference of probabilities "
            f"{self.max_difference:.1e}, accuracy {self.accuracy:.4f} (checkpoint: {self.checkpoint_accuracy:.4f})"
        )


def verify_export(
    exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample], *, int8: bool, any_size: bool
) -> dict[str, Parity]:
    """Compare an exported model with its checkpoint, and raise an error if they differ by too much.

    Args:
        exported: The predictor of the exported model.
        checkpoint: The predictor of the checkpoint.
        samples: The labeled images.
        int8: Whether the exported model is quantized, in which case only the accuracy must match.
        any_size: Whether the exported model resizes images itself, which is compared as well.

    Returns:
        The results under `parity` and, with `any_size`, `parity_of_any_size`.

    Raises:
        CheckpointError: If the difference exceeds its tolerance.
    """
    results = {"parity": compare(exported, checkpoint, samples)}
    check_parity(results["parity"], int8=int8)
    if any_size:
        results["parity_of_any_size"] = compare_any_size(exported, checkpoint, samples)
        check_any_size_parity(results["parity_of_any_size"])
    return results


def compare(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """Compare both models on the same preprocessed pixels."""
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    labels = np.array([sample.label for sample in samples])
    return Parity.from_outputs(
        labels, *(predict_samples(predictor, images, samples) for predictor in (exported, checkpoint))
    )


def compare_any_size(exported: Predictor, checkpoint: Predictor, samples: Sequence[Sample]) -> Parity:
    """Compare the exported model on images of their original size with the checkpoint on preprocessed pixels."""
    channels, value_range = checkpoint.preprocess.channels, checkpoint.preprocess.value_range
    pixels = [np.asarray(decode(sample.path, channels, value_range=value_range)) for sample in samples]
    batches = [image.reshape(1, *image.shape[:2], -1) for image in pixels]
    labels = np.array([sample.label for sample in samples])
    exported_output = ModelOutput.concatenate([exported.predict_batch(image) for image in batches])
    images = StreamedImages([sample.path for sample in samples], checkpoint.preprocess)
    return Parity.from_outputs(labels, exported_output, predict_samples(checkpoint, images, samples))


def check_any_size_parity(parity: Parity) -> None:
    """Raise `CheckpointError` if the resizing inside the graph changes probabilities by more than its tolerance."""
    if parity.max_difference > ANY_SIZE_TOLERANCE:
        raise CheckpointError(
            f"Nothing was exported: with --any-size, the predictions differ from the checkpoint: {parity}. Expected a "
            f"maximum difference of {ANY_SIZE_TOLERANCE}. Export without --any-size."
        )


def check_parity(parity: Parity, *, int8: bool) -> None:
    """Raise `CheckpointError` if the exported model differs from the checkpoint by more than its tolerance."""
    if int8:
        if parity.accuracy < parity.checkpoint_accuracy - MAX_ACCURACY_LOSS:
            raise CheckpointError(
                f"Nothing was exported: 8-bit integers lose more than {100 * MAX_ACCURACY_LOSS} percentage points of "
                f"accuracy: {parity}. Export without --int8."
            )
    elif parity.same_class < parity.images or parity.max_difference > TOLERANCE:
        raise CheckpointError(
            f"Nothing was exported: the predictions differ from the checkpoint: {parity}. Expected the same class for "
            f"all images and a maximum difference of {TOLERANCE}."
        )
