"""`export`: make a bundle of a checkpoint, for use without it, and without PyTorch."""

import argparse
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_model_arguments
from cnn_classifier.training.environment import ignore_known_warnings


def add_parser(subparsers: Any) -> None:
    """Add `export` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("export", help="write a bundle for ONNX Runtime, PyTorch or safetensors")
    add_model_arguments(parser)
    parser.add_argument("--to", choices=["onnx", "torch", "safetensors"], default="onnx", help="default: onnx")
    parser.add_argument("--int8", action="store_true", help="8-bit integers, for ONNX")
    parser.add_argument("--any-size", action="store_true", help="an ONNX graph that resizes images itself")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="the folder of the bundle")
    parser.add_argument(
        "--images", metavar="FOLDER", type=Path, help="labelled images to try it on (default: the run's test images)"
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Export, and tell what the trial on real images found."""
    from cnn_classifier.export.bundle import export

    ignore_known_warnings()
    parity = export(
        arguments.model,
        arguments.out,
        to=arguments.to,
        int8=arguments.int8,
        any_size=arguments.any_size,
        images=arguments.images,
        trusted=arguments.trust,
    )
    total_bytes = sum(path.stat().st_size for path in arguments.out.iterdir())
    print(f"{arguments.out}  {total_bytes / 1e6:.1f} MB\n{parity}")
    return 0
