"""Export of a checkpoint to a bundle: the model file and `model.json`."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cnn_classifier import __version__
from cnn_classifier.data.sources.index import Sample
from cnn_classifier.errors import ConfigError, DataError, StorageError
from cnn_classifier.export.inference_graph import InferenceGraph
from cnn_classifier.export.onnx import quantize, write_onnx
from cnn_classifier.export.parity import Parity, verify_export
from cnn_classifier.export.sample_images import sample_images
from cnn_classifier.files import BEST_CHECKPOINT, REPORT_JSON, atomic_dir
from cnn_classifier.inference.backends.pytorch import PyTorchBackend
from cnn_classifier.inference.backends.safetensors import save_safetensors
from cnn_classifier.inference.loading import MODEL_ONNX, MODEL_PT2, MODEL_SAFETENSORS
from cnn_classifier.inference.metadata import ModelMetadata
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.training.checkpoints import find_run_dir
from cnn_classifier.training.module import ImageClassifier

MODEL_FILES = {"onnx": MODEL_ONNX, "torch": MODEL_PT2, "safetensors": MODEL_SAFETENSORS}


def export(
    model: Path,
    out: Path,
    *,
    to: str = "onnx",
    int8: bool = False,
    any_size: bool = False,
    images: Path | None = None,
    trusted: Sequence[str] = (),
) -> Parity:
    """Export a checkpoint to a bundle, and verify its predictions on real images.

    The bundle is written only if its predictions match those of the checkpoint.

    Args:
        model: The path of the checkpoint or of its run directory.
        out: The directory of the bundle. It must be empty or not exist.
        to: The format: `onnx`, `torch` or `safetensors`.
        int8: Whether to quantize the weights and activations of an ONNX graph to 8-bit integers.
        any_size: Whether the ONNX graph accepts images of any size and resizes them itself.
        images: A folder of labeled images for verification and calibration. Defaults to the test images of the run.
        trusted: Import path prefixes of additional modules that the checkpoint may reference.

    Returns:
        The comparison of the exported model with the checkpoint.

    Raises:
        ConfigError: If the options are incompatible, or a package is missing.
        CheckpointError: If the checkpoint cannot be loaded, or the predictions differ.
        DataError: If there are no labeled images.
        StorageError: If the directory is not empty or cannot be written.
    """
    check_options(out, to, int8=int8, any_size=any_size)
    predictor = Predictor.load(model, device="cpu", trusted=trusted)
    if not isinstance(predictor.backend, PyTorchBackend):
        raise ConfigError(f"{model} is an exported bundle. Pass the checkpoint that it was exported from.")
    samples = sample_images(model, images, predictor)
    calibration_samples, eval_samples = split_for_quantization(samples) if int8 else ([], samples)
    metadata = replace(predictor.metadata, extra=collect_metadata(model, to, int8))
    classifier = predictor.backend.classifier
    with atomic_dir(out) as folder:
        path = folder / MODEL_FILES[to]
        write_model(path, classifier, metadata, to=to, calibration_samples=calibration_samples, any_size=any_size)
        metadata.save(folder)
        exported = Predictor.load(folder, trusted=trusted)
        parities = verify_export(exported, predictor, eval_samples, int8=int8, any_size=any_size)
        results = {name: asdict(parity) for name, parity in parities.items()}
        replace(metadata, extra={**metadata.extra, **results}).save(folder)
    return parities["parity"]


def check_options(out: Path, to: str, *, int8: bool, any_size: bool) -> None:
    """Check the options of `export` and that the output directory is empty."""
    for option, is_set in (("int8", int8), ("any-size", any_size)):
        if is_set and to != "onnx":
            raise ConfigError(f"--{option} requires --to onnx, got --to {to}.")
    if out.exists() and any(out.iterdir()):
        raise StorageError(f"{out} is not empty. Choose another directory with --out, or remove it.")


def split_for_quantization(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Split images into a quarter for calibrating the quantization and the rest for measuring the accuracy loss.

    Args:
        samples: The labeled images.

    Returns:
        The calibration samples and the evaluation samples.

    Raises:
        DataError: If there are fewer than two images.
    """
    if len(samples) < 2:
        raise DataError(
            f"--int8 requires at least 2 labeled images for calibration and verification, got {len(samples)}. "
            "Pass a folder with more images as --images."
        )
    return list(samples[::4]), [sample for index, sample in enumerate(samples) if index % 4]


def write_model(
    path: Path,
    classifier: ImageClassifier,
    metadata: ModelMetadata,
    *,
    to: str,
    calibration_samples: Sequence[Sample],
    any_size: bool,
) -> None:
    """Write the model file. An ONNX graph is quantized to 8-bit integers if there are calibration samples."""
    image_size = (metadata.preprocess.image_size, metadata.preprocess.image_size)
    if to == "safetensors":
        save_safetensors(path, classifier)
    elif to == "torch":
        write_exported_program(path, InferenceGraph(classifier, metadata), image_size)
    else:
        write_onnx(path, InferenceGraph(classifier, metadata, resize=any_size), image_size)
        if calibration_samples:
            quantize(path, [sample.path for sample in calibration_samples], metadata.preprocess)


def write_exported_program(path: Path, module: InferenceGraph, image_size: Sequence[int]) -> None:
    """Write `model.pt2` with a dynamic batch size."""
    example = torch.zeros(2, *image_size, module.preprocess.channels, dtype=torch.uint8)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def collect_metadata(model: Path, to: str, int8: bool) -> dict[str, Any]:
    """Return the provenance of a bundle: checkpoint name and SHA-256, package versions and test metrics of the run."""
    run_dir = model if model.is_dir() else find_run_dir(model)
    checkpoint = model / BEST_CHECKPOINT if model.is_dir() else model
    metadata = {
        "format": f"{to}, 8-bit integers" if int8 else to,
        "checkpoint": checkpoint.name,
        "sha256_of_checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "versions": {"cnn_classifier": __version__, "torch": version("torch")},
    }
    report = run_dir / REPORT_JSON if run_dir is not None else None
    if report is not None and report.is_file():
        content = json.loads(report.read_text(encoding="utf-8"))
        metadata |= {"test": content["test"], "data": content.get("data", {}).get("fingerprint")}
    return metadata
