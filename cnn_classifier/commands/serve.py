"""`serve`: answer over HTTP, and show a page to drop pictures on."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cnn_classifier.commands.words import positive, share
from cnn_classifier.errors import ConfigError

NEEDED = ("fastapi", "uvicorn", "onnxruntime", "python_multipart", "prometheus_client")


def add_words(commands: Any) -> None:
    """Add `serve` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("serve", help="answer over HTTP, with a page to drop pictures on")
    command.add_argument("model", metavar="MODEL", type=Path, help="a bundle that `export` wrote for ONNX")
    command.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1; 0.0.0.0 is for everybody")
    command.add_argument("--port", type=port, default=8000, help="default 8000; 0 is any that is free")
    command.add_argument(
        "--threshold", metavar="T", type=share, help="below this probability say `unknown` (default: the model's own)"
    )
    command.add_argument("--limit", metavar="MIB", type=mebibytes, help="of one request (default 10)")
    command.add_argument("--threads", metavar="N", type=positive, help="of one forward pass (default: every core)")
    command.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Load, listen, answer until a signal."""
    if any(find_spec(name) is None for name in NEEDED):
        raise ConfigError("serve needs packages that are not installed; pip install 'cnn_classifier[serve]'")
    from cnn_classifier.serve.app import make_app
    from cnn_classifier.serve.bundle import load_bundle
    from cnn_classifier.serve.limits import Limits
    from cnn_classifier.serve.server import listen, serve

    limits = Limits(body=arguments.limit) if arguments.limit else Limits()
    predictor, sha256 = load_bundle(arguments.model, threads=arguments.threads)
    app = make_app(predictor, sha256=sha256, threshold=arguments.threshold, limits=limits)
    with listen(arguments.host, arguments.port) as listener:
        host, number = listener.getsockname()[:2]
        classes = ", ".join(predictor.class_names[:5]) + ", …" * (len(predictor.class_names) > 5)
        print(f"{classes} at http://{f'[{host}]' if ':' in host else host}:{number}", flush=True)
        serve(app, listener, limits)
    return 0


def port(word: str) -> int:
    """A number of TCP, for argparse."""
    number = int(word)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{word} is not from 0 to 65535")
    return number


def mebibytes(word: str) -> int:
    """A positive number of MiB as bytes, for argparse."""
    number = float(word)
    if not 0 < number <= 1024:
        raise argparse.ArgumentTypeError(f"{word} is not above 0 and at most 1024")
    return int(number * 2**20)
