"""The service in a separate process on a free port, and socket helpers."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = """
import json, sys
from pathlib import Path
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle
from cnn_classifier.serve.limits import Limits
from cnn_classifier.serve.server import create_socket, serve
limits = Limits(**json.loads(sys.argv[2]))
predictor, sha256 = load_bundle(Path(sys.argv[1]))
with create_socket("127.0.0.1", 0) as listener:
    print("at http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
    serve(make_app(predictor, sha256=sha256, limits=limits), listener, limits)
"""
JPEG_HEADERS = {"Content-Type": "image/jpeg"}
REQUEST_HEADERS = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\n"
COMMAND = [sys.executable, "-c", "import sys; from cnn_classifier.cli.main import main; sys.exit(main())"]


class ServiceProcess:
    """A running service.

    Args:
        process: The process.
        address: The base URL of the service.
    """

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process, self.address, self.port = process, address, int(address.rpartition(":")[2])


@contextmanager
def run_service(
    bundle: Path,
    *options: str,
    limits: dict[str, float] | None = None,
    command: Sequence[str] = COMMAND,
    **popen_kwargs: Any,
) -> Iterator[ServiceProcess]:
    """Run the service in a process that is killed at the end of the context.

    Args:
        bundle: The ONNX bundle.
        options: Options of `cnn-classifier serve`.
        limits: Fields of `Limits`. They cannot be combined with `options` and `command`.
        command: The command line before `serve`.
        popen_kwargs: Additional arguments of `subprocess.Popen`.
    """
    arguments = [*command, "serve", str(bundle), "--port", "0", *options]
    if limits:
        arguments = [sys.executable, "-c", PROGRAM, str(bundle), json.dumps(limits)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen_kwargs)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert " at http://" in f" {line}", process.stderr.read()
        yield ServiceProcess(process, line.split()[-1])
    finally:
        process.kill()
        process.communicate()


def connect(service: ServiceProcess) -> socket.socket:
    """Open a TCP connection to the service."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def receive_all(connection: socket.socket) -> bytes:
    """Receive until the peer closes the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received
