"""Measure a model on labelled images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cnn_classifier.data.audit import inspect_files
from cnn_classifier.data.cache import Packing
from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.naming import renamed
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.preprocess import Pixels
from cnn_classifier.data.source import scan_to_test
from cnn_classifier.data.store import ImageStore, Rows
from cnn_classifier.engines import Answers
from cnn_classifier.errors import CheckpointError, DataError
from cnn_classifier.predictor import Predictor
from cnn_classifier.report.evaluation import Evaluation

NO_GRADIENTS = "Where the network looked is known of checkpoints only: exported graphs have no gradients."


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
    answers = look_at(predictor, images, samples, flip=flip)
    return Evaluation(
        class_names=predictor.class_names,
        labels=np.array([sample.label for sample in samples], np.int64),
        probabilities=answers.probabilities,
        paths=[str(sample.path) for sample in samples],
        temperature=predictor.card.temperature,
        threshold=predictor.card.threshold,
        familiar=answers.familiarity >= (predictor.card.least_familiarity or -1),
    )


def look_at(predictor: Predictor, images: ImageStore, samples: Sequence[Sample], *, flip: bool = False) -> Answers:
    """The answers on every image, as `evaluate_images` has them."""
    batches = images.batches(in_batches(images.rows([sample.path for sample in samples]), predictor.batch_size))
    with tqdm(total=len(samples), desc="testing", disable=None, leave=False) as progress:
        rows = []
        for pixels in batches:
            rows.append(predictor.look(pixels, flip=flip))
            progress.update(len(pixels))
    return Answers.joined(rows)


def in_batches(rows: Rows, size: int) -> Iterator[Rows]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def evaluate_folder(predictor: Predictor, folder: str | Path) -> Evaluation:
    """Evaluate on a folder of class folders, an archive or a CSV of them; where that has a test split, on it alone.

    Raises:
        DataError: If there is nothing to evaluate on.
        CheckpointError: If the folder has classes that the model does not know.
    """
    scan = renamed(scan_to_test(Path(folder).expanduser()), predictor.card.aliases)
    samples = samples_to_test(scan, predictor.class_names)
    defaults = DatasetOptions()
    cache, limit = defaults.cache, defaults.cache_limit_gb
    with Packing(predictor.preprocess, capacity=len(samples), cache=cache, cache_limit_gb=limit) as packing:
        audit = inspect_files([sample.path for sample in samples], packing)
        readable = [sample for sample in samples if sample.path not in audit.bad]
        if not readable:
            raise DataError(f"none of the {len(samples)} images below {folder} can be read")
        images = packing.finish({sample.path: audit.digests[sample.path] for sample in readable})
    evaluation = evaluate_images(predictor, images, readable)
    return replace(evaluation, unreadable={str(path): reason for path, reason in audit.bad.items()})


def samples_to_test(scan: Scan, class_names: Sequence[str]) -> list[Sample]:
    """The images of a folder with the model's labels."""
    known = set(class_names)
    unknown = [name for name in scan.class_names if name not in known]
    if unknown:
        raise CheckpointError(
            f"the model does not know the class {', '.join(unknown)} of {scan.root}; "
            f"it was trained for: {', '.join(class_names)}"
        )
    index = {name: label for label, name in enumerate(class_names)}
    labels = [index[name] for name in scan.class_names]
    return [Sample(sample.path, labels[sample.label]) for sample in scan.samples]


def explained(
    predictor: Predictor, pixels: Pixels, classes: Sequence[int]
) -> tuple[Sequence[npt.NDArray[np.float32]], str]:
    """What spoke for a class in each image, as a heat map (h, w) from 0 to 1, and why there are none, or nothing.

    Args:
        predictor: The model.
        pixels: Final pixels, uint8 (B, H, W, C).
        classes: One of each image, B of them.
    """
    classifier = getattr(predictor.engine, "classifier", None)
    if classifier is None:
        return [], NO_GRADIENTS

    from cnn_classifier.explain import heat_maps  # torch, which an exported graph does without

    return heat_maps(classifier, pixels, classes)
