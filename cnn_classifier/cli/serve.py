"""`serve`: answer over HTTP, and show a page to drop pictures on."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import fraction, positive_int
from cnn_classifier.errors import ConfigError

REQUIRED_PACKAGES = ("fastapi", "uvicorn", "onnxruntime", "python_multipart", "prometheus_client")


def add_parser(subparsers: Any) -> None:
    """Add `serve` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("serve", help="answer over HTTP, with a page to drop pictures on")
    parser.add_argument("model", metavar="MODEL", type=Path, help="a bundle that `export` wrote for ONNX")
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1; 0.0.0.0 is for everybody")
    parser.add_argument("--port", type=port_number, default=8000, help="default 8000; 0 is any that is free")
    parser.add_argument(
        "--threshold",
        metavar="T",
        type=fraction,
        help="below this probability say `unknown` (default: the model's own)",
    )
    parser.add_argument("--limit", metavar="MIB", type=mebibytes, help="of one request (default 10)")
    parser.add_argument("--threads", metavar="N", type=positive_int, help="of one forward pass (default: every core)")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Load, listen, answer until a signal."""
    if any(find_spec(name) is None for name in REQUIRED_PACKAGES):
        raise ConfigError("serve needs packages that are not installed; pip install 'cnn_classifier[serve]'")
    from cnn_classifier.serve.app import make_app
    from cnn_classifier.serve.bundle import load_bundle
    from cnn_classifier.serve.limits import Limits
    from cnn_classifier.serve.server import create_socket, serve

    limits = Limits(max_body_bytes=arguments.limit) if arguments.limit else Limits()
    predictor, sha256 = load_bundle(arguments.model, threads=arguments.threads)
    app = make_app(predictor, sha256=sha256, threshold=arguments.threshold, limits=limits)
    with create_socket(arguments.host, arguments.port) as listener:
        host, bound_port = listener.getsockname()[:2]
        classes = ", ".join(predictor.class_names[:5]) + ", …" * (len(predictor.class_names) > 5)
        print(f"{classes} at http://{f'[{host}]' if ':' in host else host}:{bound_port}", flush=True)
        serve(app, listener, limits)
    return 0


def port_number(text: str) -> int:
    """A number of TCP, for argparse."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to 65535")
    return number


def mebibytes(text: str) -> int:
    """A positive number of MiB as bytes, for argparse."""
    number = float(text)
    if not 0 < number <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1024")
    return int(number * 2**20)
