"""Measure a checkpoint on labelled images."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cnn_classifier.data.cache import image_store
from cnn_classifier.data.datamodule import BatchLoader, EpochOrder
from cnn_classifier.data.folder import Sample, Scan, scan_labelled
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.errors import CheckpointError, DataError
from cnn_classifier.predictor import Predictor
from cnn_classifier.report.evaluation import Evaluation


def evaluate_loader(predictor: Predictor, loader: BatchLoader, paths: Sequence[Path]) -> Evaluation:
    """The probabilities of every image that a loader gives; `paths` are its files in the same order."""
    batches = tqdm(loader, "testing", disable=None, leave=False)
    rows = [predictor.batch_probabilities(images) for images, _ in batches]
    return Evaluation(
        class_names=predictor.class_names,
        labels=loader.labels.numpy(),
        probabilities=np.concatenate(rows),
        paths=[str(path) for path in paths],
    )


def evaluate_folder(predictor: Predictor, folder: str | Path) -> Evaluation:
    """Evaluate on a folder of class folders; where it has a test folder, on that.

    Raises:
        DataError: If there is nothing to evaluate on.
        CheckpointError: If the folder has classes that the checkpoint does not know.
    """
    scan = scan_labelled(Path(folder).expanduser())
    samples = samples_to_test(scan, predictor.class_names)
    paths = [sample.path for sample in samples]
    defaults = DatasetOptions()
    images = image_store(paths, predictor.preprocess, cache=defaults.cache, cache_limit_gb=defaults.cache_limit_gb)
    readable = [index for index in range(len(samples)) if index not in images.unreadable]
    if not readable:
        raise DataError(f"none of the {len(samples)} images below {folder} can be read")
    loader = BatchLoader(
        images,
        np.array(readable),
        torch.tensor([samples[index].label for index in readable]),
        batch_size=predictor.batch_size,
        order=EpochOrder(len(readable), seed=0, shuffle=False),
    )
    evaluation = evaluate_loader(predictor, loader, [paths[index] for index in readable])
    return replace(evaluation, unreadable={str(paths[i]): reason for i, reason in images.unreadable.items()})


def samples_to_test(scan: Scan, class_names: Sequence[str]) -> list[Sample]:
    """The images of a folder with the checkpoint's labels."""
    unknown = [name for name in scan.class_names if name not in class_names]
    if unknown:
        raise CheckpointError(
            f"the checkpoint does not know the class {', '.join(unknown)} of {scan.root}; "
            f"it was trained for: {', '.join(class_names)}"
        )
    labels = [list(class_names).index(name) for name in scan.class_names]
    return [Sample(sample.path, labels[sample.label]) for sample in scan.samples]
