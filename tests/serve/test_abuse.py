"""Clients that are slow, fickle, greedy or no clients at all: each is sent away, and others are served."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from helpers.serving import JPEG_HEADERS, REQUEST_HEADERS, ServiceProcess, connect, receive_all, run_service


@pytest.fixture(scope="module")
def strict(bundle: Path) -> Iterator[ServiceProcess]:
    """With limits that a test can go beyond in a moment."""
    with run_service(
        bundle, limits={"read_timeout": 1, "keep_alive_timeout": 1, "max_body_bytes": 100_000, "max_connections": 40}
    ) as service:
        yield service


def test_a_body_that_is_late_is_answered_408_and_cut(strict: ServiceProcess) -> None:
    with connect(strict) as slow:
        slow.sendall(REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n" + b"\xff")
        told = receive_all(slow)
    assert told.startswith(b"HTTP/1.1 408")
    assert b"the request did not arrive within 1 s" in told


@pytest.mark.parametrize("start", [b"", b"POST /pre", REQUEST_HEADERS])
def test_headers_that_are_late_are_cut(strict: ServiceProcess, start: bytes) -> None:
    started = time.perf_counter()
    with connect(strict) as slow:
        slow.sendall(start)
        assert receive_all(slow) == b""
    assert time.perf_counter() - started < 10


def test_a_connection_without_requests_is_closed(strict: ServiceProcess) -> None:
    with connect(strict) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert receive_all(idle).endswith(b'{"status":"alive"}')


def test_too_much_is_refused_before_it_is_sent(strict: ServiceProcess) -> None:
    with connect(strict) as large:
        large.sendall(REQUEST_HEADERS + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
        assert large.recv(65536).startswith(b"HTTP/1.1 413")  # and no 100 before it
    with connect(strict) as endless:
        endless.sendall(REQUEST_HEADERS + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            endless.sendall(b"c350\r\n" + bytes(50_000) + b"\r\n")
        assert endless.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_of_abuse",
    [
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        REQUEST_HEADERS + b"Content-Length: -1\r\n\r\n",
        REQUEST_HEADERS + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        REQUEST_HEADERS + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
    ids=["10,000 headers", "long address", "TLS", "negative length", "two lengths", "no chunk"],
)
def test_what_is_no_request_is_answered_400_and_others_are_served(
    strict: ServiceProcess, request_of_abuse: bytes
) -> None:
    with connect(strict) as abusive:
        try:
            abusive.sendall(request_of_abuse)
            told = receive_all(abusive)
        except ConnectionError:
            told = b""  # it was cut off before it was done
        assert told.startswith(b"HTTP/1.1 400") or not told
    assert httpx2.get(f"{strict.address}/health").status_code == 200


def test_a_client_that_hangs_up_harms_nobody(strict: ServiceProcess, photo: bytes) -> None:
    for sent in (
        REQUEST_HEADERS,
        REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n",
        REQUEST_HEADERS + b"Content-Length: 1000\r\n\r\n" + photo[:500],
    ):
        with connect(strict) as fickle:
            fickle.sendall(sent)
    assert httpx2.post(f"{strict.address}/predict", content=photo, headers=JPEG_HEADERS).status_code == 200
    assert 'code="500"' not in httpx2.get(f"{strict.address}/metrics").text


def test_more_connections_than_the_limit_are_turned_away_until_others_close(strict: ServiceProcess) -> None:
    many = [connect(strict) for _ in range(45)]
    with connect(strict) as late:
        late.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert late.recv(65536).startswith(b"HTTP/1.1 503")
    for connection in many:
        connection.close()
    deadline = time.perf_counter() + 20
    while httpx2.get(f"{strict.address}/health").status_code != 200:
        assert time.perf_counter() < deadline
