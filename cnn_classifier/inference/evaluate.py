"""Measure a model on labelled images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cnn_classifier.data.checks.check import inspect_files
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.image_store import ImageStore, Rows
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.sources.class_names import rename_classes
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.resolve import scan_for_evaluation
from cnn_classifier.errors import CheckpointError, DataError
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.metrics.evaluation import Evaluation

NO_GRADIENTS_MESSAGE = "Where the network looked is known of checkpoints only: exported graphs have no gradients."


def evaluate_images(
    predictor: Predictor, images: ImageStore, samples: Sequence[Sample], *, flip: bool = False
) -> Evaluation:
    """The answers on every image, and what they are measured by.

    Args:
        predictor: The model.
        images: Where their pixels are.
        samples: The images and their labels.
        flip: Average each image's answer with that of its mirror image.
    """
    outputs = predict_samples(predictor, images, samples, flip=flip)
    return Evaluation(
        class_names=predictor.class_names,
        labels=np.array([sample.label for sample in samples], np.int64),
        probabilities=outputs.probabilities,
        paths=[str(sample.path) for sample in samples],
        temperature=predictor.metadata.temperature,
        threshold=predictor.metadata.threshold,
        in_distribution=outputs.similarity >= (predictor.metadata.min_similarity or -1),
    )


def predict_samples(
    predictor: Predictor, images: ImageStore, samples: Sequence[Sample], *, flip: bool = False
) -> ModelOutput:
    """The answers on every image, as `evaluate_images` has them."""
    batches = images.iter_batches(
        iter_batches(images.get_rows([sample.path for sample in samples]), predictor.batch_size)
    )
    with tqdm(total=len(samples), desc="testing", disable=None, leave=False) as progress:
        outputs = []
        for pixels in batches:
            outputs.append(predictor.predict_batch(pixels, flip=flip))
            progress.update(len(pixels))
    return ModelOutput.concatenate(outputs)


def iter_batches(rows: Rows, size: int) -> Iterator[Rows]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def evaluate_folder(predictor: Predictor, folder: str | Path) -> Evaluation:
    """Evaluate on a folder of class folders, an archive or a CSV of them; where that has a test split, on it alone.

    Raises:
        DataError: If there is nothing to evaluate on.
        CheckpointError: If the folder has classes that the model does not know.
    """
    scan = rename_classes(scan_for_evaluation(Path(folder).expanduser()), predictor.metadata.aliases)
    samples = map_labels_to_model(scan, predictor.class_names)
    defaults = DatasetConfig()
    cache, cache_limit_gb = defaults.cache, defaults.cache_limit_gb
    with PixelCacheWriter(
        predictor.preprocess, capacity=len(samples), cache=cache, cache_limit_gb=cache_limit_gb
    ) as cache_writer:
        audit = inspect_files([sample.path for sample in samples], cache_writer)
        readable = [sample for sample in samples if sample.path not in audit.unreadable]
        if not readable:
            raise DataError(f"none of the {len(samples)} images below {folder} can be read")
        images = cache_writer.finalize({sample.path: audit.digests[sample.path] for sample in readable})
    evaluation = evaluate_images(predictor, images, readable)
    return replace(evaluation, unreadable={str(path): reason for path, reason in audit.unreadable.items()})


def map_labels_to_model(scan: DatasetIndex, class_names: Sequence[str]) -> list[Sample]:
    """The images of a folder with the model's labels."""
    known_classes = set(class_names)
    unknown_classes = [name for name in scan.class_names if name not in known_classes]
    if unknown_classes:
        raise CheckpointError(
            f"the model does not know the class {', '.join(unknown_classes)} of {scan.root}; "
            f"it was trained for: {', '.join(class_names)}"
        )
    label_by_name = {name: label for label, name in enumerate(class_names)}
    labels = [label_by_name[name] for name in scan.class_names]
    return [Sample(sample.path, labels[sample.label]) for sample in scan.samples]


def explain_predictions(
    predictor: Predictor, pixels: Pixels, classes: Sequence[int]
) -> tuple[Sequence[npt.NDArray[np.float32]], str]:
    """What spoke for a class in each image, as a heat map (h, w) from 0 to 1, and why there are none, or nothing.

    Args:
        predictor: The model.
        pixels: Final pixels, uint8 (B, H, W, C).
        classes: One of each image, B of them.
    """
    classifier = getattr(predictor.backend, "classifier", None)
    if classifier is None:
        return [], NO_GRADIENTS_MESSAGE

    from cnn_classifier.inference.grad_cam import grad_cam  # torch, which an exported graph does without

    return grad_cam(classifier, pixels, classes)
