"""A web site on this machine that fails as it is told, for everything that downloads."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = hashlib.shake_256(b"an archive").digest(1 << 20)
HALF = len(CONTENT) // 2
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Visit(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "Site"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        fault = self.server.faults.pop(0) if self.server.faults else Visit.serve
        fault(self)
        self.close_connection = True

    def serve(self, *, stop_after: int | None = None, **headers: object) -> None:
        """Answer as a good server does, with ranges, unless other headers are given or it stops early."""
        content, start = self.server.content, 0
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if found and self.headers.get("If-Range", self.server.tag) == self.server.tag:
            start = int(found[1])
        good = {"Content-Length": len(content) - start, "ETag": self.server.tag}
        if start:
            good["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer(206 if start else 200, good | told, content[start:stop_after])

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
    """Serves `content` under any path; `faults` are taken one a request before it serves well.

    Args (set by the test):
        asked: Path and Range header of each request so far.
        over: Set when the test ends, for answers that wait.
    """

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.content, self.tag = CONTENT, '"1"'
        self.faults: list[Callable[[Visit], None]] = []
        self.asked: list[tuple[str, str | None]] = []
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self) -> list[str | None]:
        return [wanted for _, wanted in self.asked]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serving() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:
            site.over.set()
            site.shutdown()
            thread.join()


def answering(status: int, body: bytes = b"", **headers: object) -> Callable[[Visit], None]:
    """A fault: this answer."""
    told = {"Content-Length": len(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda visit: visit.answer(status, told, body)


def stops_at_half(visit: Visit) -> None:
    """A fault: half of the file, then the connection closes."""
    visit.serve(stop_after=HALF)


def hangs_at_half(visit: Visit) -> None:
    """A fault: half of the file, then silence."""
    visit.serve(stop_after=HALF)
    visit.wfile.flush()
    visit.server.over.wait()


def drips(visit: Visit) -> None:
    """A fault: a byte at a time."""
    visit.serve(stop_after=1)
    while not visit.server.over.wait(0.01):
        visit.wfile.write(b".")
