"""Slow, disconnecting, excessive and malformed requests to a running service."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from helpers.serving import JPEG_HEADERS, REQUEST_HEADERS, ServiceProcess, connect, receive_all, run_service


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[ServiceProcess]:
    """A service with limits that a test exceeds within seconds."""
    with run_service(
        bundle, limits={"read_timeout": 1, "keep_alive_timeout": 1, "max_body_bytes": 100_000, "max_connections": 40}
    ) as service:
        yield service


def test_slow_body_receives_408_and_connection_is_closed(service: ServiceProcess) -> None:
    with connect(service) as connection:
        connection.sendall(REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n" + b"\xff")
        response = receive_all(connection)
    assert response.startswith(b"HTTP/1.1 408")
    assert b"The request was not received within 1 s." in response


@pytest.mark.parametrize("start", [b"", b"POST /pre", REQUEST_HEADERS])
def test_connection_with_slow_headers_is_closed(service: ServiceProcess, start: bytes) -> None:
    start_time = time.perf_counter()
    with connect(service) as connection:
        connection.sendall(start)
        assert receive_all(connection) == b""
    assert time.perf_counter() - start_time < 10


def test_idle_connection_is_closed(service: ServiceProcess) -> None:
    with connect(service) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert receive_all(connection).endswith(b'{"status":"alive"}')


def test_oversized_body_receives_413_before_it_is_sent(service: ServiceProcess) -> None:
    with connect(service) as connection:
        connection.sendall(REQUEST_HEADERS + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")  # without "100 Continue" before
    with connect(service) as connection:
        connection.sendall(REQUEST_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            connection.sendall(b"c350\r\n" + bytes(50_000) + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "malformed_request",
    [
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        REQUEST_HEADERS + b"Content-Length: -1\r\n\r\n",
        REQUEST_HEADERS + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        REQUEST_HEADERS + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
    ids=["10,000 headers", "long path", "TLS", "negative length", "two lengths", "invalid chunk"],
)
def test_malformed_request_receives_400_and_service_continues(
    service: ServiceProcess, malformed_request: bytes
) -> None:
    with connect(service) as connection:
        try:
            connection.sendall(malformed_request)
            response = receive_all(connection)
        except ConnectionError:
            response = b""  # the service closed the connection while the request was sent
        assert response.startswith(b"HTTP/1.1 400") or not response
    assert httpx2.get(f"{service.address}/health").status_code == 200


def test_client_disconnect_is_not_a_server_error(service: ServiceProcess, photo: bytes) -> None:
    for sent in (
        REQUEST_HEADERS,
        REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n",
        REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n" + photo[:500],
    ):
        with connect(service) as connection:
            connection.sendall(sent)
    assert httpx2.post(f"{service.address}/predict", content=photo, headers=JPEG_HEADERS).status_code == 200
    assert 'code="500"' not in httpx2.get(f"{service.address}/metrics").text


def test_connection_over_the_limit_receives_503_until_others_close(service: ServiceProcess) -> None:
    connections = [connect(service) for _ in range(45)]
    with connect(service) as extra_connection:
        extra_connection.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert extra_connection.recv(65536).startswith(b"HTTP/1.1 503")
    for connection in connections:
        connection.close()
    deadline = time.perf_counter() + 20
    while httpx2.get(f"{service.address}/health").status_code != 200:
        assert time.perf_counter() < deadline
