"""A local HTTP server with configurable faults, for the download tests."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = hashlib.shake_256(b"an archive").digest(1 << 20)
HALF = len(CONTENT) // 2
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    """A request handler that answers with the next fault of the site, or correctly."""

    protocol_version = "HTTP/1.1"
    server: "Site"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers.get("Range")))
        fault = self.server.faults.pop(0) if self.server.faults else Handler.serve
        fault(self)
        self.close_connection = True

    def serve(self, *, stop_after: int | None = None, **headers: object) -> None:
        """Answer correctly, with range support, except for the given headers and an early end."""
        content, start = self.server.content, 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and self.headers.get("If-Range", self.server.tag) == self.server.tag:
            start = int(match[1])
        defaults = {"Content-Length": len(content) - start, "ETag": self.server.tag}
        if start:
            defaults["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        overrides = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer(206 if start else 200, defaults | overrides, content[start:stop_after])

    def answer(self, status: int, headers: dict[str, object], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Site(ThreadingHTTPServer):
    """A server of `content` at any path.

    Attributes:
        content: The content of the file.
        tag: The ETag of the file.
        faults: The answers to the next requests; later requests are answered correctly.
        requests: The path and Range header of each request so far.
        finished: An event that is set when the test ends, for answers that hang.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag = CONTENT, '"1"'
        self.faults: list[Callable[[Handler], object]] = []
        self.requests: list[tuple[str, str | None]] = []
        self.finished = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        return [range_header for _, range_header in self.requests]

    def handle_error(self, *_: object) -> None:
        """Print nothing: some tests close the connection early."""


@contextmanager
def run_site() -> Iterator[Site]:
    """Run a `Site` in a thread."""
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.finished.set()
            site.shutdown()
            thread.join()


def respond_with(status: int, body: bytes = b"", **headers: object) -> Callable[[Handler], None]:
    """Return a fault: this answer."""
    all_headers = {"Content-Length": len(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(status, all_headers, body)


def stop_at_half(handler: Handler) -> None:
    """Fault: send half of the file, then close the connection."""
    handler.serve(stop_after=HALF)


def hang_at_half(handler: Handler) -> None:
    """Fault: send half of the file, then send nothing."""
    handler.serve(stop_after=HALF)
    handler.wfile.flush()
    handler.server.finished.wait()


def drip(handler: Handler) -> None:
    """Fault: send one byte at a time."""
    handler.serve(stop_after=1)
    while not handler.server.finished.wait(0.01):
        handler.wfile.write(b".")
