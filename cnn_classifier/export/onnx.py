"""Export to ONNX in float32, and static quantization to 8-bit integers."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.errors import ConfigError, install_command
from cnn_classifier.export.inference_graph import InferenceGraph

OPSET = 20
INPUT_NAME, OUTPUT_NAMES = "images", ["probabilities", "similarity"]
INSTALL_HINT = f"ONNX export requires packages that are not installed: {install_command('export')}"


def write_onnx(path: Path, module: InferenceGraph, image_size: Sequence[int]) -> None:
    """Write a module as an ONNX graph.

    The input is `images`, uint8 (B, H, W, C). The outputs are `probabilities`, float32 (B, K), and `similarity`,
    float32 (B,), if the module has a feature bank.

    Args:
        path: The file to write.
        module: The module to export.
        image_size: The height and width of the example input in pixels. They are dynamic if the module resizes.

    Raises:
        ConfigError: If onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    example = torch.zeros(2, *image_size, module.preprocess.channels, dtype=torch.uint8)
    dynamic_dims: dict[int, Any] = {0: torch.export.Dim("batch")}
    if module.resize:
        dynamic_dims |= {1: torch.export.Dim("height", min=2), 2: torch.export.Dim("width", min=2)}
    with silence_exporter():
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            input_names=[INPUT_NAME],
            output_names=OUTPUT_NAMES[: 1 if module.feature_bank is None else 2],
            dynamic_shapes=(dynamic_dims,),
            opset_version=OPSET,
            verbose=False,
        )


@contextmanager
def silence_exporter() -> Iterator[None]:
    """Suppress the log messages and warnings of the ONNX exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class CalibrationReader:
    """A calibration data reader for onnxruntime that yields one image at a time.

    Args:
        paths: The image files.
        preprocess: The preprocessing of the model.
    """

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.preprocess = iter(paths), preprocess

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """Return the next input of the graph, or None after the last image."""
        path = next(self.paths, None)
        return None if path is None else {INPUT_NAME: self.preprocess.load(path)[np.newaxis]}


def quantize(path: Path, paths: Sequence[Path], preprocess: Preprocess) -> None:
    """Quantize an ONNX graph in place: per-channel int8 weights and uint8 activations.

    Weights use 7 of the 8 bits, because CPUs without VNNI accumulate products of 8-bit values in 16 bits, which
    would overflow.

    Args:
        path: The ONNX file, which is replaced.
        paths: The image files from which activation ranges are determined.
        preprocess: The preprocessing of the model.

    Raises:
        ConfigError: If onnxruntime or onnx is not installed.
    """
    try:
        from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise ConfigError(INSTALL_HINT) from error
    prepared, quantized = path.with_suffix(".prepared"), path.with_suffix(".int8")
    logging.getLogger().addFilter(is_error)
    quant_pre_process(path, prepared, skip_symbolic_shape=True)  # fails on dynamic batch sizes
    quantize_static(
        prepared,
        quantized,
        CalibrationReader(paths, preprocess),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
        calibrate_method=CalibrationMethod.MinMax,
        op_types_to_quantize=["Conv", "MaxPool", "Add", "Gemm", "MatMul"],
        nodes_to_exclude=find_similarity_nodes(prepared),
    )
    prepared.unlink()
    quantized.replace(path)


def find_similarity_nodes(path: Path) -> list[str]:
    """Return the nodes that only the similarity needs. They stay in float32 because a threshold is applied to it."""
    import onnx

    graph = onnx.load(path).graph
    producers = {output: node for node in graph.node for output in node.output}

    def find_ancestors(output: str) -> set[str]:
        pending, found = [output], set()
        while pending:
            node = producers.get(pending.pop())
            if node is not None and node.name not in found:
                found.add(node.name)
                pending += node.input
        return found

    probabilities, *rest = [find_ancestors(output.name) for output in graph.output]
    return sorted(set().union(*rest) - probabilities)


def is_error(record: logging.LogRecord) -> bool:
    """Return whether a log record is an error, as a `logging` filter."""
    return record.levelno >= logging.ERROR
