"""The `export` command: a bundle for ONNX Runtime, torch.export or safetensors."""

import argparse
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_model_arguments
from cnn_classifier.training.environment import ignore_known_warnings


def add_parser(subparsers: Any) -> None:
    """Add `export` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("export", help="export a model for ONNX Runtime, PyTorch or safetensors")
    add_model_arguments(parser)
    parser.add_argument("--to", choices=["onnx", "torch", "safetensors"], default="onnx", help="format (default: onnx)")
    parser.add_argument("--int8", action="store_true", help="quantize the ONNX graph to 8-bit integers")
    parser.add_argument("--any-size", action="store_true", help="include the resizing of images in the ONNX graph")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the directory of the bundle")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        type=Path,
        help="labeled images for the parity check (default: the test images of the run)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Export the model and print the result of the parity check."""
    from cnn_classifier.export.bundle import export

    ignore_known_warnings()
    parity = export(
        arguments.model,
        arguments.out,
        to=arguments.to,
        int8=arguments.int8,
        any_size=arguments.any_size,
        images=arguments.images,
        trusted=arguments.trust_module,
    )
    total_bytes = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}  {total_bytes / 1e6:.1f} MB\n{parity}")
    return 0
