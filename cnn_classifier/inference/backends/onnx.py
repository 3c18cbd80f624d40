"""ONNX Runtime: a graph with normalisation, softmax and temperature inside, and no torch in the process."""

import os
from pathlib import Path

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.inference.backends import ModelOutput

# From 1.29 on ONNX Runtime tells its makers which models run (onnxruntime#27379), unless this is set when it starts.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class OnnxBackend:
    """The graph of a bundle on the CPU.

    Args:
        path: `model.onnx`.
        threads: Of one answer; as many as cores if None.

    Raises:
        ConfigError: If onnxruntime is not installed.
        CheckpointError: If the graph cannot be loaded.
    """

    def __init__(self, path: Path, *, num_threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise ConfigError(
                "ONNX models need a package that is not installed; pip install 'cnn_classifier[onnx]'"
            ) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads:
            options.intra_op_num_threads = num_threads
        try:
            # From bytes: a graph whose weights point to other files cannot reach them.
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no other base in common
            detail = str(error).splitlines()[0]
            raise CheckpointError(f"{path} is no graph that can be run ({detail}); export the bundle again") from error
        self.input_name = self.session.get_inputs()[0].name

    def predict(self, pixels: Pixels) -> ModelOutput:
        probabilities, *rest = self.session.run(None, {self.input_name: np.ascontiguousarray(pixels)})
        similarity = rest[0] if rest else np.ones(len(pixels))
        return ModelOutput(np.asarray(probabilities, np.float64), np.asarray(similarity, np.float64))
