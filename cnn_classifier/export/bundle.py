"""Write a bundle: the model, `model.json` beside it, and nothing at all if it answers otherwise than its checkpoint."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from cnn_classifier.files import ensure_writable_dir
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
    """Write a bundle, and prove on real images that it answers as the checkpoint does.

    Args:
        model: The checkpoint, or its run folder.
        out: The folder to write; it must not hold anything yet.
        to: `onnx`, `torch` or `safetensors`.
        int8: Whether ONNX weights and activations become 8-bit integers.
        any_size: Whether the ONNX graph takes images of any size and resizes them itself.
        images: A folder of labelled images to try it on; by default those that the run was tested on.
        trusted: Import paths of networks of your own that the checkpoint may name.

    Returns:
        What the trial found.

    Raises:
        ConfigError: If the words do not go together, or a package is missing.
        CheckpointError: If the checkpoint cannot be used, or the export answers otherwise.
        DataError: If there are no images to try.
        StorageError: If the folder cannot be written, or holds something.
    """
    for option, is_set in (("int8", int8), ("any-size", any_size)):
        if is_set and to != "onnx":
            raise ConfigError(f"--{option} goes with --to onnx only; this is --to {to}")
    if out.exists() and any(out.iterdir()):
        raise StorageError(f"{out} holds something already; choose another folder, or remove it")
    predictor = Predictor.load(model, device="cpu", trusted=trusted)
    if not isinstance(predictor.backend, PyTorchBackend):
        raise ConfigError(f"{model} is an exported bundle; give the checkpoint that it was made of")
    samples = sample_images(model, images, predictor)
    calibration_samples, eval_samples = split_for_quantization(samples) if int8 else ([], samples)
    metadata = replace(predictor.metadata, extra=collect_metadata(model, to, int8))
    with atomic_dir(out) as folder:
        write_model(
            folder / MODEL_FILES[to],
            predictor.backend.classifier,
            metadata,
            to=to,
            calibration_samples=calibration_samples,
            any_size=any_size,
        )
        metadata.save(folder)
        exported = Predictor.load(folder, trusted=trusted)
        parities = verify_export(exported, predictor, eval_samples, int8=int8, any_size=any_size)
        replace(metadata, extra={**metadata.extra, **{name: asdict(parity) for name, parity in parities.items()}}).save(
            folder
        )
    return parities["parity"]


def split_for_quantization(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """A quarter of the images to find how wide 8-bit integers must be, and the others to measure what they lose.

    Raises:
        DataError: If there are not enough.
    """
    if len(samples) < 2:
        raise DataError(f"--int8 needs at least 2 images to be tuned and tried on; there is {len(samples)}")
    return list(samples[::4]), [sample for index, sample in enumerate(samples) if index % 4]


@contextmanager
def atomic_dir(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` if nothing goes wrong, and is removed if something does."""
    partial_dir = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial_dir, ignore_errors=True)
    try:
        yield ensure_writable_dir(partial_dir)
        ensure_writable_dir(out).rmdir()
        partial_dir.replace(out)
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror}); choose another folder") from error
    finally:
        shutil.rmtree(partial_dir, ignore_errors=True)


def write_model(
    path: Path,
    classifier: ImageClassifier,
    metadata: ModelMetadata,
    *,
    to: str,
    calibration_samples: Sequence[Sample],
    any_size: bool,
) -> None:
    """Write the model itself; with images it becomes one of 8-bit integers, as wide as these need it."""
    image_size = (metadata.preprocess.image_size, metadata.preprocess.image_size)
    if to == "safetensors":
        save_safetensors(path, classifier)
    elif to == "torch":
        write_program(path, InferenceGraph(classifier, metadata), image_size)
    else:
        write_onnx(path, InferenceGraph(classifier, metadata, resize=any_size), image_size)
        if calibration_samples:
            quantize(path, [sample.path for sample in calibration_samples], metadata.preprocess)


def write_program(path: Path, module: InferenceGraph, image_size: Sequence[int]) -> None:
    """Write `model.pt2`."""
    example = torch.zeros(2, *image_size, module.preprocess.channels, dtype=torch.uint8)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, path)


def collect_metadata(model: Path, to: str, int8: bool) -> dict[str, Any]:
    """Where a bundle comes from: the checkpoint's name and digest, versions, and what its run measured."""
    run_dir = model if model.is_dir() else find_run_dir(model)
    checkpoint = model / "checkpoints" / "best.ckpt" if model.is_dir() else model
    metadata = {
        "format": f"{to}, 8-bit integers" if int8 else to,
        "checkpoint": checkpoint.name,
        "sha256_of_checkpoint": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "versions": {"cnn_classifier": __version__, "torch": version("torch")},
    }
    report = run_dir / "report.json" if run_dir is not None else None
    if report is not None and report.is_file():
        content = json.loads(report.read_text(encoding="utf-8"))
        metadata |= {"test": content["test"], "data": content.get("data", {}).get("fingerprint")}
    return metadata
