"""Evaluation of a model on labeled images."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.checks.check import inspect_files
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.data.loading.image_store import ImageStore, Rows
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.parallel import batch_slices
from cnn_classifier.data.sources.class_names import (
    abbreviate,
    compose_accents,
    find_similar,
    keep_classes,
    pluralize,
    rename_classes,
)
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.resolve import scan_for_evaluation
from cnn_classifier.data.splits.split_csv import read_split_digests
from cnn_classifier.errors import CheckpointError, DataError
from cnn_classifier.files import CONFIG_FILE, SPLIT_FILE
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.progress import progress_bar
from cnn_classifier.report.metrics.evaluation import Evaluation

NO_GRADIENTS_MESSAGE = "Grad-CAM requires a checkpoint: exported models have no gradients."


def evaluate_images(
    predictor: Predictor, images: ImageStore, samples: Sequence[Sample], *, flip: bool = False
) -> Evaluation:
    """Evaluate a model on labeled images.

    Args:
        predictor: The predictor of the model.
        images: The preprocessed pixels of the images.
        samples: The images and their labels.
        flip: Whether to average the probabilities of each image and its horizontal flip.
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
    """Compute the model output for every image, with the arguments of `evaluate_images`."""
    if not samples:
        return ModelOutput(np.zeros((0, len(predictor.class_names))), np.zeros(0))
    batches = images.iter_batches(
        iter_batches(images.get_rows([sample.path for sample in samples]), predictor.batch_size)
    )
    with progress_bar(description="testing", total=len(samples)) as progress:
        outputs = []
        for pixels in batches:
            outputs.append(predictor.predict_batch(pixels, flip=flip))
            progress.update(len(pixels))
    return ModelOutput.concatenate(outputs)


def iter_batches(rows: Rows, size: int) -> Iterator[Rows]:
    """Yield consecutive slices of at most `size` rows."""
    return (rows[batch] for batch in batch_slices(len(rows), size))


def evaluate_folder(predictor: Predictor, folder: str | Path) -> Evaluation:
    """Evaluate a model on a folder of class folders, an archive or a CSV file.

    If the source has a test split, only that split is evaluated.

    Args:
        predictor: The predictor of the model.
        folder: The path of the folder, archive or CSV file.

    Raises:
        DataError: If no image can be read.
        CheckpointError: If the model has none of the classes, or one is probably misspelled.
    """
    index = rename_classes(scan_for_evaluation(Path(folder).expanduser()), predictor.metadata.aliases)
    index = map_labels_to_model(index, predictor.class_names)
    samples = index.samples
    defaults = DatasetConfig()
    cache, cache_limit_gb = defaults.cache, defaults.cache_limit_gb
    with PixelCacheWriter(
        predictor.preprocess, capacity=len(samples), cache=cache, cache_limit_gb=cache_limit_gb
    ) as cache_writer:
        audit = inspect_files([sample.path for sample in samples], cache_writer)
        readable = [sample for sample in samples if sample.path not in audit.unreadable]
        if not readable:
            raise DataError(f"Cannot read any of the {len(samples)} images in {folder}.")
        images = cache_writer.finalize({sample.path: audit.digests[sample.path] for sample in readable})
    evaluation = evaluate_images(predictor, images, readable)
    unreadable = {str(path): reason for path, reason in audit.unreadable.items()}
    digests = [audit.digests[sample.path] for sample in readable]
    return replace(evaluation, unreadable=unreadable, notes=index.notes, digests=digests)


def count_seen_images(model: Path, digests: Sequence[str]) -> dict[str, int] | None:
    """Count the images that were in the training or validation split of a model, also under another name.

    Args:
        model: The path of the checkpoint, run directory or bundle.
        digests: The SHA-256 of each image.

    Returns:
        The number of images in `train` and in `val`; None if no run directory around the model has a `split.csv` with
        digests.
    """
    for folder in (model, *model.absolute().parents[:2], *model.resolve().parents[:2]):
        if (folder / CONFIG_FILE).is_file() and (split_by_digest := read_split_digests(folder / SPLIT_FILE)):
            counts = Counter(split_by_digest.get(digest) for digest in digests)
            return {split: counts[split] for split in ("train", "val")}
    return None


def describe_seen_images(seen: Mapping[str, int] | None, num_images: int) -> str | None:
    """Return a warning about an evaluation on images of the training run, None if there are none."""
    if seen is None:
        return "Unknown whether these images were trained on: there is no split.csv with digests beside the model."
    if not any(seen.values()):
        return None
    return (
        f"WARNING: {seen['train']:,} of the {pluralize(num_images, 'image')} were in the training split of this model "
        f"and {seen['val']:,} in its validation split: the metrics are too optimistic. Evaluate on other images."
    )


def map_labels_to_model(index: DatasetIndex, class_names: Sequence[str]) -> DatasetIndex:
    """Return an index with the label indices of the model; classes that the model does not have are left out.

    Args:
        index: The scanned source.
        class_names: The class names of the model.

    Raises:
        CheckpointError: If the model has none of the classes, or a class that it does not have is probably misspelled.
    """
    label_by_name = {compose_accents(name): label for label, name in enumerate(class_names)}
    present_labels = {sample.label for sample in index.samples}
    present_names = [index.class_names[label] for label in sorted(present_labels)]
    unknown = [name for name in present_names if name not in label_by_name]
    absent = [name for name in label_by_name if name not in present_names]
    if len(unknown) == len(present_names) or any(find_similar(name, absent) for name in unknown):
        raise CheckpointError(
            f"The model has no class {abbreviate(unknown)}, which {index.root} contains. Expected a subset of: "
            f"{', '.join(class_names)}."
        )
    known = {label for label in present_labels if index.class_names[label] in label_by_name}
    note = "Classes that the model does not have: {names}. They are left out, with {images}."
    index = keep_classes(index, known, note) if unknown else index
    samples = [
        replace(sample, label=label_by_name[index.class_names[sample.label]], split=None) for sample in index.samples
    ]
    return replace(index, samples=samples, class_names=list(class_names))


def explain_predictions(
    predictor: Predictor, pixels: Pixels, classes: Sequence[int]
) -> tuple[Sequence[npt.NDArray[np.float32]], str]:
    """Compute Grad-CAM heatmaps if the backend supports gradients.

    Args:
        predictor: The predictor of the model.
        pixels: Preprocessed images, uint8 (B, H, W, C).
        classes: The class index to explain for each image, length B.

    Returns:
        The heatmaps, float32 (h, w) from 0 to 1, and a message that says why there are none, or an empty string.
    """
    classifier = getattr(predictor.backend, "classifier", None)
    if classifier is None:
        return [], NO_GRADIENTS_MESSAGE

    from cnn_classifier.inference.grad_cam import grad_cam  # imports torch, which ONNX bundles do not need

    return grad_cam(classifier, pixels, classes)
