"""A service in a process of its own, on a port of its own."""

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
JPEG = {"Content-Type": "image/jpeg"}
HEAD = b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: image/jpeg\r\n"
COMMAND = [sys.executable, "-c", "from cnn_classifier.cli.main import run; run()"]


class Service:
    """A running service.

    Args:
        process: The process.
        address: Where it answers.
    """

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        self.process, self.address, self.port = process, address, int(address.rpartition(":")[2])


@contextmanager
def serving(
    bundle: Path,
    *words: str,
    limits: dict[str, float] | None = None,
    command: Sequence[str] = COMMAND,
    **process_words: Any,
) -> Iterator[Service]:
    """`cnn-classifier serve` with these words, or the service with these limits; ended in any case."""
    started = [*command, "serve", str(bundle), "--port", "0", *words]
    if limits:
        started = [sys.executable, "-c", PROGRAM, str(bundle), json.dumps(limits)]
    process = subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **process_words)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        assert " at http://" in f" {line}", process.stderr.read()
        yield Service(process, line.split()[-1])
    finally:
        process.kill()
        process.communicate()


def connected(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=20)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side hangs up."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received
