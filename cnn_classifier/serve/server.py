"""The uvicorn server: listening socket, read timeout and graceful shutdown."""

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
from cnn_classifier.serve.metrics import ACCESS_LOG

TIMEOUT_FACTOR = 1.5  # times `read_timeout`, so that the 408 response is sent before the connection is closed


class TimeoutProtocol(H11Protocol):
    """An HTTP protocol that closes connections whose request takes longer than `request_timeout` seconds.

    uvicorn has no read timeout. The application sends 408 for a slow body; this protocol covers slow headers and
    clients that continue to send after the response.
    """

    request_timeout = TIMEOUT_FACTOR * Limits.read_timeout

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Start the timeout."""
        super().connection_made(transport)
        self.timeout_handle = self.loop.call_later(self.request_timeout, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Stop the timeout when a request is complete, and restart it with the next request."""
        super().data_received(data)
        if self.conn.their_state is DONE:  # the request is complete
            self.timeout_handle.cancel()
        elif self.timeout_handle.cancelled():
            self.timeout_handle = self.loop.call_later(self.request_timeout, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timeout."""
        self.timeout_handle.cancel()
        super().connection_lost(exc)


def create_socket(host: str, port: int) -> socket.socket:
    """Create a listening TCP socket.

    Args:
        host: The host name or address to bind to.
        port: The port. 0 selects a free port.

    Raises:
        ConfigError: If the address cannot be bound.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Connections inherit TCP_NODELAY. asyncio does not set it for this socket, and responses would wait 40 ms for
        # delayed ACKs.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        detail = error.strerror or error
        raise ConfigError(f"Cannot listen on {host}:{port}: {detail}. Choose another --port or --host.") from error


def serve(app: FastAPI, listener: socket.socket, limits: Limits, *, access_log: bool = False) -> None:
    """Serve requests until SIGTERM or Ctrl-C, then finish pending requests.

    Args:
        app: The application.
        listener: The listening socket.
        limits: The limits on connections and timeouts.
        access_log: Whether to write one line per request to standard error.

    Raises:
        SystemExit: On SIGTERM, with exit code 143.
        KeyboardInterrupt: On Ctrl-C.
    """

    class Protocol(TimeoutProtocol):
        request_timeout = TIMEOUT_FACTOR * limits.read_timeout

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_level="error",
        access_log=False,  # `MetricsMiddleware` writes its own, with the duration
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=limits.keep_alive_timeout,
        timeout_graceful_shutdown=limits.shutdown_timeout,
    )
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # malformed forms receive 400 and are counted
    if access_log:
        enable_access_log()
    # uvicorn raises SIGTERM again after shutdown. The default handler has no effect for PID 1 of a container.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED_EXIT_CODE))
    uvicorn.Server(config).run(sockets=[listener])


def enable_access_log() -> None:
    """Write the lines of `ACCESS_LOG` to standard error, with the time."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    ACCESS_LOG.handlers = [handler]
    ACCESS_LOG.setLevel(logging.INFO)
    ACCESS_LOG.propagate = False
