"""Write `model.onnx`, in float32 or with 8-bit weights and activations."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.errors import ConfigError
from cnn_classifier.export.inference_graph import InferenceGraph

OPSET = 20
INPUT_NAME, OUTPUT_NAMES = "images", ["probabilities", "similarity"]
INSTALL_HINT = "exporting to ONNX needs packages that are not installed; pip install 'cnn_classifier[export]'"


def write_onnx(path: Path, module: InferenceGraph, image_size: Sequence[int]) -> None:
    """Write the graph: `images` uint8 (B, H, W, C) in, `probabilities` float32 (B, K) out, perhaps `familiarity` (B,).

    Args:
        path: The file.
        module: What is exported.
        sides: Height and width of the example; they are dynamic where the module resizes.

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
    """Without the exporter's remarks on its own workings."""
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
    """Images for onnxruntime's calibration, a few at a time.

    Args:
        paths: The files.
        preprocess: How they become pixels.
    """

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.preprocess = iter(paths), preprocess

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        path = next(self.paths, None)
        return None if path is None else {INPUT_NAME: self.preprocess.load(path)[np.newaxis]}


def quantize(path: Path, paths: Sequence[Path], preprocess: Preprocess) -> None:
    """Replace a graph by one with integer weights, a scale a channel, and activations as wide as on these images.

    Weights take 7 of the 8 bits: processors without VNNI add products of whole bytes in 16 bits, where they overflow.

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
    quant_pre_process(path, prepared, skip_symbolic_shape=True)  # it fails on dynamic batches
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
        nodes_to_exclude=topk_inputs(prepared),
    )
    prepared.unlink()
    quantized.replace(path)


def topk_inputs(path: Path) -> list[str]:
    """The cosines of familiarity, which are compared with a threshold: they stay as they are."""
    import onnx

    nodes = onnx.load(path).graph.node
    input_names = {node.input[0] for node in nodes if node.op_type == "TopK"}
    return [node.name for node in nodes if input_names & set(node.output)]


def is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
