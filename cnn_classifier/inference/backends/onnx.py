"""ONNX Runtime backend, which does not import torch."""

import os
from pathlib import Path

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.errors import CheckpointError, ConfigError, first_line, install_command
from cnn_classifier.inference.backends import ModelOutput

# ONNX Runtime >= 1.29 sends telemetry (onnxruntime#27379) unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


class OnnxBackend:
    """A backend that runs an ONNX graph on the CPU.

    The graph includes normalization, temperature and softmax.

    Args:
        path: The path of `model.onnx`.
        num_threads: The number of threads of one forward pass. None uses all cores.

    Raises:
        ConfigError: If onnxruntime is not installed.
        CheckpointError: If the graph cannot be loaded.
    """

    def __init__(self, path: Path, *, num_threads: int | None = None) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            hint = install_command("onnx")
            raise ConfigError(f"ONNX bundles require a package that is not installed: {hint}") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads:
            options.intra_op_num_threads = num_threads
        try:
            # Loading from bytes prevents a graph from reading external weight files.
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exceptions of onnxruntime have no other common base
            detail = first_line(error).rstrip(".")
            raise CheckpointError(f"Cannot load {path}: {detail}. Export the bundle again.") from error
        self.input_name = self.session.get_inputs()[0].name

    def predict(self, pixels: Pixels) -> ModelOutput:
        """Return the output for preprocessed images, uint8 (B, H, W, C)."""
        probabilities, *rest = self.session.run(None, {self.input_name: np.ascontiguousarray(pixels)})
        similarity = rest[0] if rest else np.ones(len(pixels))
        return ModelOutput(np.asarray(probabilities, np.float64), np.asarray(similarity, np.float64))
