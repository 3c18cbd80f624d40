"""Load the backend that runs a checkpoint, a run directory or a bundle."""

from collections.abc import Sequence
from pathlib import Path

from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.inference.backends import Backend
from cnn_classifier.inference.backends.onnx import OnnxBackend
from cnn_classifier.inference.metadata import MODEL_JSON, ModelMetadata

MODEL_ONNX, MODEL_PT2, MODEL_SAFETENSORS = "model.onnx", "model.pt2", "model.safetensors"


def load_backend(
    path: Path, *, device: str | None = None, trusted: Sequence[str] = ()
) -> tuple[Backend, ModelMetadata]:
    """Load the backend and the metadata of a model; torch is imported only if needed.

    Args:
        path: A checkpoint, a run directory or a bundle.
        device: The device of PyTorch models; ONNX and exported programs run on the CPU.
        trusted: Import prefixes of network classes of your own that a checkpoint may name.

    Raises:
        CheckpointError: If the file is missing, damaged or not a model of this package.
        ConfigError: If the device does not exist, or a package is missing.
    """
    path = path.parent if path.name == MODEL_JSON else path
    if not (path / MODEL_JSON).is_file():
        from cnn_classifier.inference.backends.pytorch import PyTorchBackend, load_classifier

        classifier, metadata = load_classifier(path, trusted=trusted)
        return PyTorchBackend(classifier, metadata, device=device), metadata
    metadata = ModelMetadata.load(path)
    if (path / MODEL_SAFETENSORS).is_file():
        from cnn_classifier.inference.backends.pytorch import PyTorchBackend
        from cnn_classifier.inference.backends.safetensors import load_safetensors

        return PyTorchBackend(
            load_safetensors(path / MODEL_SAFETENSORS, trusted=trusted), metadata, device=device
        ), metadata
    if device not in (None, "cpu"):
        raise ConfigError(f"device {device}: this bundle runs on the CPU; expected cpu, or a checkpoint")
    if (path / MODEL_ONNX).is_file():
        return OnnxBackend(path / MODEL_ONNX), metadata
    if (path / MODEL_PT2).is_file():
        from cnn_classifier.inference.backends.exported_program import ExportedProgramBackend

        return ExportedProgramBackend(path / MODEL_PT2), metadata
    expected = f"{MODEL_ONNX}, {MODEL_PT2} or {MODEL_SAFETENSORS}"
    raise CheckpointError(f"{path} holds no model beside {MODEL_JSON}; expected {expected}: export the bundle again")
