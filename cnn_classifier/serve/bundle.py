"""Loading and smoke test of the ONNX bundle before the service accepts requests."""

import hashlib
from pathlib import Path

import numpy as np

from cnn_classifier.errors import CheckpointError, first_line, quote_argument
from cnn_classifier.inference.backends.onnx import OnnxBackend
from cnn_classifier.inference.loading import MODEL_ONNX
from cnn_classifier.inference.metadata import MODEL_JSON, ModelMetadata
from cnn_classifier.inference.predictor import Predictor


def load_bundle(path: Path, *, num_threads: int | None = None) -> tuple[Predictor, str]:
    """Load an ONNX bundle and verify its output for a gray image.

    Args:
        path: The directory that `cnn-classifier export` wrote.
        num_threads: The number of threads of one forward pass. None uses all cores.

    Returns:
        The predictor and the SHA-256 of the graph.

    Raises:
        CheckpointError: If the directory is not an ONNX bundle, or its graph does not match `model.json`.
        ConfigError: If onnxruntime is not installed.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist. Expected a directory written by `cnn-classifier export`.")
    graph = path / MODEL_ONNX
    if not (graph.is_file() and (path / MODEL_JSON).is_file()):
        raise CheckpointError(
            f"{path} is not an ONNX bundle. Export one with "
            f"`cnn-classifier export {quote_argument(str(path))} --out bundle` and serve it."
        )
    metadata = ModelMetadata.load(path)
    predictor = Predictor(OnnxBackend(graph, num_threads=num_threads), metadata)
    image_size, channels = metadata.preprocess.image_size, metadata.preprocess.channels
    try:
        probabilities = predictor.predict_proba(np.full((2, image_size, image_size, channels), 128, np.uint8))
    except Exception as error:  # the exceptions of onnxruntime have no other common base
        detail = first_line(error).rstrip(".")
        raise CheckpointError(
            f"{graph} does not accept the input described in {MODEL_JSON}: {detail}. Export the bundle again."
        ) from error
    if probabilities.shape != (2, len(metadata.class_names)) or not np.allclose(
        probabilities.sum(axis=1), 1, atol=1e-3
    ):
        raise CheckpointError(
            f"{graph} does not return probabilities of the {len(metadata.class_names)} classes in {MODEL_JSON}. "
            "Export the bundle again."
        )
    return predictor, hashlib.sha256(graph.read_bytes()).hexdigest()
