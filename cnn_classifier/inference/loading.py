"""Find out what a path holds, and make the engine that runs it."""

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
    """The engine and the card of a checkpoint, a run folder or a bundle; torch is imported only where it is needed.

    Args:
        path: The file or folder.
        device: For PyTorch; bundles of ONNX and programs run on the CPU.
        trusted: Import paths of networks of your own that it may name.

    Raises:
        CheckpointError: If it cannot be used.
        ConfigError: If there is no such device, or a package is missing.
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
