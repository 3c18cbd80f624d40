"""Whatever a server does, a download goes on, starts over or says what is wrong; no part is taken for the file."""

import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.download_site import (
    CHECKSUM,
    CONTENT,
    HALF,
    Site,
    Visit,
    answering,
    drips,
    hangs_at_half,
    serving,
    stops_at_half,
)

from cnn_classifier.data.sources import download, https
from cnn_classifier.data.sources import http_transfer as transfer
from cnn_classifier.data.sources.download import download_file
from cnn_classifier.errors import DataError, StorageError

KNOWN = pytest.mark.parametrize("checksum", [CHECKSUM, None], ids=["checksum", "no checksum"])
REST = f"bytes={HALF}-"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(transfer, "RETRY_DELAY", 0)
    with serving() as site:
        yield site


def pets(site: Site, folder: Path, checksum: str | None = None) -> Path:
    return download_file(f"{site.address}/pets.zip", folder, checksum=checksum)


def refused(site: Site, folder: Path, checksum: str | None = None) -> str:
    """The message of a download that fails; nothing has the file's name afterwards."""
    with pytest.raises(DataError) as raised:
        pets(site, folder, checksum)
    assert list(folder.rglob("pets.zip")) == []
    assert "\n" not in str(raised.value)
    return str(raised.value)


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*.partial")]


@KNOWN
def test_a_dropped_connection_is_gone_on_from(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [stops_at_half]
    assert pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [None, REST]


@KNOWN
def test_what_never_comes_whole_is_kept_for_the_next_run(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [stops_at_half] + [lambda visit: visit.serve(stop_after=HALF + 1000)] * 4
    told = refused(site, tmp_path, checksum)
    assert f"closed after {HALF + 1000:,} of {len(CONTENT):,} bytes (5 attempts)" in told
    assert told.endswith(f". {HALF + 1000:,} bytes are kept; run again to resume.")
    assert sizes(tmp_path) == [HALF + 1000]
    site.asked.clear()

    assert pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={HALF + 1000}-"]
    assert sizes(tmp_path) == []


def test_without_checksum_and_validator_nothing_is_gone_on_from(site: Site, tmp_path: Path) -> None:
    site.faults = [lambda visit: visit.serve(stop_after=HALF, ETag=None)]
    assert pets(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, None]


@KNOWN
def test_a_file_that_changed_in_between_is_fetched_anew(site: Site, tmp_path: Path, checksum: str | None) -> None:
    newer = CONTENT

    def replaced(visit: Visit) -> None:
        site.content = newer[::-1]
        stops_at_half(visit)
        site.content, site.tag = newer, '"2"'

    site.faults = [replaced]
    assert pets(site, tmp_path, checksum).read_bytes() == newer
    assert site.ranges == [None, REST]  # If-Range: the server answered with all of the new one


@KNOWN
def test_a_run_that_was_killed_before_it_checked_the_file_leaves_only_that_to_do(
    site: Site, tmp_path: Path, checksum: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "verify_checksum", killed)
        with pytest.raises(KeyboardInterrupt):
            pets(site, tmp_path, checksum)
    site.faults = [answering(416, ETag='"1"', Content_Range=f"bytes */{len(CONTENT)}")]
    assert pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={len(CONTENT)}-"]


def part(body: bytes, first: int, *, tag: str = '"1"') -> Callable[[Visit], None]:
    """A fault: this for the rest of the file, said to begin at `first`."""
    span = f"bytes {first}-{first + len(body) - 1}/{len(CONTENT)}"
    return answering(206, body, ETag=tag, Content_Range=span)


@KNOWN
@pytest.mark.parametrize(
    "fault",
    [
        answering(200, CONTENT, ETag='"1"'),
        answering(416, Content_Range=f"bytes */{len(CONTENT)}"),
        part(CONTENT[::-1][HALF:], HALF, tag='"2"'),
        part(CONTENT[HALF - 1 :], HALF - 1),
        part(CONTENT[HALF:-100], HALF),
        answering(206, CONTENT[HALF:], ETag='"1"'),
    ],
    ids=["ignores Range", "416", "other version", "begins earlier", "ends earlier", "no Content-Range"],
)
def test_a_server_that_does_not_go_on_is_asked_for_all(
    site: Site, tmp_path: Path, fault: Callable[[Visit], None], checksum: str | None
) -> None:
    site.faults = [stops_at_half, fault]
    assert pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges[:2] == [None, REST]
    assert site.ranges[2:] in ([], [None])


@KNOWN
def test_a_length_that_is_a_lie_is_never_reached(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [answering(200, CONTENT, Content_Length=len(CONTENT) + 7)] * 5
    assert f"closed after {len(CONTENT):,} of {len(CONTENT) + 7:,} bytes" in refused(site, tmp_path, checksum)


def test_wrong_bytes_are_removed_and_the_next_run_starts_over(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(200, CONTENT[::-1])]
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    told = refused(site, tmp_path, CHECKSUM)
    assert f"/pets.zip: expected {CHECKSUM}, got sha256:{found}. " in told
    assert told.endswith("run again, or correct dataset.checksum")
    assert sizes(tmp_path) == []
    assert pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


@KNOWN
def test_a_missing_file_is_not_asked_for_twice(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [answering(404, b"<h1>Not here</h1>", Content_Type="text/html")]
    told = refused(site, tmp_path, checksum)
    assert told == (
        f"Cannot download {site.address}/pets.zip: the server answered 404 Not Found. Correct the URL, or set "
        "dataset.source=PATH or dataset.mirror."
    )
    assert len(site.asked) == 1
    assert sizes(tmp_path) == []


def test_an_overloaded_server_is_asked_again_but_not_for_ever(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(503)] * 2
    assert pets(site, tmp_path).read_bytes() == CONTENT
    assert len(site.asked) == 3
    site.faults = [answering(500)] * 5
    told = refused(site, tmp_path / "again")
    assert "the server answered 500 Internal Server Error (5 attempts). Download it yourself" in told


def test_a_web_page_is_no_file_unless_the_checksum_says_so(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(200, b"<h1>Sign in</h1>", Content_Type="text/html; charset=utf-8")]
    assert refused(site, tmp_path).endswith("is a web page, not a file. Pass the URL of the file itself.")
    site.faults = [answering(200, CONTENT, Content_Type="text/html")]
    assert pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


def test_a_file_whose_end_nobody_marks_needs_a_checksum(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(200, CONTENT[:HALF], Content_Length=None)] * 2
    assert "the server does not send its size. Set dataset.checksum=sha256:HEX" in refused(site, tmp_path)
    assert "got sha256:" in refused(site, tmp_path, CHECKSUM)
    site.faults = [answering(200, CONTENT, Content_Length=None)]
    assert pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


def test_chunks_end_with_a_mark_of_their_own(site: Site, tmp_path: Path) -> None:
    headers = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    cut = b"%x\r\n%s\r\n" % (HALF, CONTENT[:HALF])
    whole = cut + b"%x\r\n%s\r\n0\r\n\r\n" % (HALF, CONTENT[HALF:])
    site.faults = [answering(200, cut, **headers), answering(200, whole, **headers)]
    assert pets(site, tmp_path).read_bytes() == CONTENT
    assert len(site.asked) == 2


def test_redirects_are_followed_but_not_for_ever(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(302, Location="/there/the pets.zip?a=b")]
    assert pets(site, tmp_path).read_bytes() == CONTENT
    assert site.asked[1] == ("/there/the%20pets.zip?a=b", None)
    site.faults = [answering(301, Location="/pets.zip")] * 6
    assert "redirects more than 5 times" in refused(site, tmp_path / "again")


@pytest.mark.parametrize(
    "target",
    ["http://example.invalid/pets.zip", "file:///etc/passwd", "ftp://127.0.0.1/", "http://127.0.0.1@example.invalid/"],
)
def test_a_redirect_to_anything_but_https_is_refused(site: Site, tmp_path: Path, target: str) -> None:
    site.faults = [answering(302, Location=target)]
    told = refused(site, tmp_path, CHECKSUM)
    assert told.startswith(f"{site.address}/pets.zip redirects to {target}, which is not an https URL. ")


def test_a_redirect_to_no_address_is_refused(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(302, Location="http://[")]
    assert "redirects to http://[, which is not a URL" in refused(site, tmp_path)


@pytest.mark.parametrize(
    ("here", "asked", "safe"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("http://b.org/x", "https://b.org/x", False),
        ("http://b.org/x", "http://b.org/x", False),
        ("http://localhost:8000/x", "http://[::1]:80/x", True),
        ("http://localhost/x", "https://b.org/x", False),  # a site elsewhere does not get at what runs here
        ("https://b.org/x", "http://127.0.0.1/x", True),
        ("http://localhost.b.org/x", "http://localhost/x", False),
        ("http://localhost:80@b.org/x", "http://localhost/x", False),
        ("file:///x", "file:///x", False),
    ],
)
def test_plain_http_never_leaves_this_machine(here: str, asked: str, safe: bool) -> None:
    assert https.is_safe_url(here, requested_url=asked) is safe


def test_no_proxy_carries_plain_http_elsewhere(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://example.invalid:1")
    assert pets(site, tmp_path).read_bytes() == CONTENT


@KNOWN
def test_a_server_that_falls_silent_is_left(
    site: Site, tmp_path: Path, checksum: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "MAX_ATTEMPTS", 2)
    site.faults = [hangs_at_half, lambda visit: visit.server.over.wait()]
    told = refused(site, tmp_path, checksum)
    assert re.search(r"timed out.* \(2 attempts\)\. 524,288 bytes are kept", told)


def test_a_server_that_drips_is_left(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SPEED_WINDOW", 0)
    monkeypatch.setattr(transfer, "MIN_BYTES_PER_SECOND", 10**12)
    monkeypatch.setattr(transfer, "MAX_ATTEMPTS", 2)
    site.faults = [drips] * 2
    assert "slower than 1,000,000,000,000 bytes per second (2 attempts). " in refused(site, tmp_path)


def test_an_unknown_host_is_told_at_once_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(
        DataError, match=r"Name or service not known\. Download it yourself and pass it as dataset\.sour"
    ):
        download_file("https://example.invalid/pets.zip", tmp_path)


def test_a_closed_port_is_tried_again_and_told(site: Site, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            DataError, match=r"refused.* \(5 attempts\)\. Download it yourself .* or set dataset\.mirror"
        ):
            download_file(f"http://127.0.0.1:{port}/pets.zip", tmp_path)


def test_more_than_the_disk_takes_is_refused_before_it_comes(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(200, Content_Length=10**18)]
    with pytest.raises(
        StorageError, match=r" has [\d,]+ bytes free, but 1,000,000,000,000,000,000 are required\. Free spac"
    ):
        pets(site, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_told(site: Site, tmp_path: Path) -> None:
    site.faults = [answering(404)]
    refused(site, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "pets.zip.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device\. Free space there or set CNN_CLASSIFIER_HOME"):
        pets(site, tmp_path)
    assert list(tmp_path.rglob("pets.zip")) == []
