"""Load what is served, and try it before anybody is let in."""

import hashlib
from pathlib import Path

import numpy as np

from cnn_classifier.errors import CheckpointError
from cnn_classifier.inference.backends.onnx import OnnxBackend
from cnn_classifier.inference.loading import MODEL_ONNX
from cnn_classifier.inference.metadata import MODEL_JSON, ModelMetadata
from cnn_classifier.inference.predictor import Predictor


def load_bundle(path: Path, *, threads: int | None = None) -> tuple[Predictor, str]:
    """The predictor of an ONNX bundle, and the SHA-256 of its graph.

    Args:
        path: The folder that `cnn-classifier export` wrote.
        threads: Of one forward pass; as many as cores if None.

    Raises:
        CheckpointError: If it is something else, or its answer to a grey image makes no sense.
        ConfigError: If onnxruntime is not installed.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected a folder that `cnn-classifier export` wrote")
    graph = path / MODEL_ONNX
    if not (graph.is_file() and (path / MODEL_JSON).is_file()):
        raise CheckpointError(
            f"{path} is no ONNX bundle; make one with `cnn-classifier export {path} --out bundle`, and serve that"
        )
    metadata = ModelMetadata.load(path)
    predictor = Predictor(OnnxBackend(graph, num_threads=threads), metadata)
    image_size, channels = metadata.preprocess.image_size, metadata.preprocess.channels
    try:
        probabilities = predictor.predict_proba(np.full((2, image_size, image_size, channels), 128, np.uint8))
    except Exception as error:  # of ONNX Runtime's own kinds, which derive from Exception alone
        detail = str(error).splitlines()[0]
        raise CheckpointError(
            f"{graph} does not take what {MODEL_JSON} describes ({detail}); export it again"
        ) from error
    if probabilities.shape != (2, len(metadata.class_names)) or not np.allclose(
        probabilities.sum(axis=1), 1, atol=1e-3
    ):
        raise CheckpointError(f"{graph} gives no probabilities of the classes in {MODEL_JSON}; export it again")
    return predictor, hashlib.sha256(graph.read_bytes()).hexdigest()
