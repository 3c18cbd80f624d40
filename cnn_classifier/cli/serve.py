"""The `serve` command: predictions over HTTP, with an upload page."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnn_classifier.cli.arguments import add_threshold_argument, positive_int
from cnn_classifier.errors import INTERRUPTED_EXIT_CODE, ConfigError, install_command

REQUIRED_PACKAGES = ("fastapi", "uvicorn", "onnxruntime", "python_multipart", "prometheus_client")


def add_parser(subparsers: Any) -> None:
    """Add `serve` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("serve", help="serve predictions over HTTP, with an upload page")
    parser.add_argument("model", metavar="MODEL", type=Path, help="an ONNX bundle written by `export`")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address (default: 127.0.0.1); 0.0.0.0 listens on all interfaces"
    )
    parser.add_argument("--port", type=port_number, default=8000, help="port (default: 8000); 0 selects a free port")
    add_threshold_argument(parser)
    parser.add_argument(
        "--max-body-mb",
        dest="max_body_bytes",
        metavar="MIB",
        type=mebibytes,
        help="maximum request size in MiB (default: 10)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=positive_int, help="threads per forward pass (default: all cores)"
    )
    parser.add_argument(
        "--no-access-log",
        dest="access_log",
        action="store_false",
        help="do not print one line per request to standard error",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Load the bundle and serve requests until a signal arrives."""
    if any(find_spec(name) is None for name in REQUIRED_PACKAGES):
        raise ConfigError(f"serve requires packages that are not installed: {install_command('serve')}")
    from cnn_classifier.serve.app import make_app
    from cnn_classifier.serve.bundle import load_bundle
    from cnn_classifier.serve.limits import Limits
    from cnn_classifier.serve.server import create_socket, serve

    limits = Limits(max_body_bytes=arguments.max_body_bytes) if arguments.max_body_bytes else Limits()
    predictor, sha256 = load_bundle(arguments.model, num_threads=arguments.threads)
    app = make_app(predictor, sha256=sha256, threshold=arguments.threshold, limits=limits)
    with create_socket(arguments.host, arguments.port) as listener:
        host, bound_port = listener.getsockname()[:2]
        classes = ", ".join(predictor.class_names[:5]) + ", …" * (len(predictor.class_names) > 5)
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound_port}"
        print(f"{classes} at {url}\nAPI reference at {url}/docs. Press Ctrl-C to stop.", flush=True)
        try:
            serve(app, listener, limits, access_log=arguments.access_log)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return INTERRUPTED_EXIT_CODE
    return 0


def port_number(text: str) -> int:
    """Parse a TCP port number; an argparse type."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected 0 to 65535")
    return number


def mebibytes(text: str) -> int:
    """Parse a size in MiB and return it in bytes; an argparse type."""
    number = float(text)
    if not 0 < number <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected a number above 0, up to 1024")
    return int(number * 2**20)
