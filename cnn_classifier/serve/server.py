"""The process around the application: a socket, a signal, and no patience with clients who have all day."""

import logging
import signal
import socket
import sys
from asyncio import Transport

import uvicorn
from fastapi import FastAPI
from h11 import DONE
from uvicorn.protocols.http.h11_impl import H11Protocol

from cnn_classifier.errors import TERMINATED_EXIT_CODE, ConfigError
from cnn_classifier.serve.limits import Limits

TIMEOUT_FACTOR = 1.5  # times what a request may take to arrive: an answer that says so goes first


class TimeoutProtocol(H11Protocol):
    """Hangs up on a client that takes longer over a request than `seconds`; uvicorn alone would wait for ever.

    The application answers 408 to a body that is late. This is for headers that are, and for those who go on sending
    after their answer.
    """

    request_timeout = TIMEOUT_FACTOR * Limits.read_timeout

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_handle = self.loop.call_later(self.request_timeout, transport.abort)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is DONE:  # the request is complete
            self.timeout_handle.cancel()
        elif self.timeout_handle.cancelled():
            self.timeout_handle = self.loop.call_later(self.request_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.timeout_handle.cancel()
        super().connection_lost(exc)


def create_socket(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is any that is free.

    Raises:
        ConfigError: If the address cannot be had.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections inherit it. asyncio sees no TCP in a socket made like this, and answers would wait 40 ms for ACKs.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        detail = error.strerror or error
        raise ConfigError(f"{host}:{port} cannot be listened on ({detail}); choose another --port or --host") from error


def serve(app: FastAPI, listener: socket.socket, limits: Limits) -> None:
    """Answer until SIGTERM or Ctrl+C; then take no more, finish what was begun, and exit with 143 or 130."""

    class Protocol(TimeoutProtocol):
        request_timeout = TIMEOUT_FACTOR * limits.read_timeout

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_level="error",
        access_log=False,  # /metrics counts; names of files are nobody's business
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=limits.keep_alive_timeout,
        timeout_graceful_shutdown=limits.shutdown_timeout,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # broken forms are answered, and counted
    # uvicorn drains, and then raises the signal again: as the first process of a container it would have no effect.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED_EXIT_CODE))
    uvicorn.Server(config).run(sockets=[listener])
