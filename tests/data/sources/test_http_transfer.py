"""Tests of resumable transfers from servers with various faults."""

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
    Handler,
    Site,
    drip,
    hang_at_half,
    respond_with,
    run_site,
    stop_at_half,
)

from cnn_classifier.data.sources import download, https
from cnn_classifier.data.sources import http_transfer as transfer
from cnn_classifier.data.sources.download import download_file
from cnn_classifier.errors import DataError, StorageError

WITH_AND_WITHOUT_CHECKSUM = pytest.mark.parametrize("checksum", [CHECKSUM, None], ids=["checksum", "no checksum"])
REST = f"bytes={HALF}-"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(transfer, "RETRY_DELAY", 0)
    with run_site() as site:
        yield site


def download_pets(site: Site, folder: Path, checksum: str | None = None) -> Path:
    return download_file(f"{site.address}/pets.zip", folder, checksum=checksum)


def download_error(site: Site, folder: Path, checksum: str | None = None) -> str:
    """Return the message of a failing download, and assert that there is no file of its name."""
    with pytest.raises(DataError) as raised:
        download_pets(site, folder, checksum)
    assert list(folder.rglob("pets.zip")) == []
    assert "\n" not in str(raised.value)
    return str(raised.value)


def partial_sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*.partial")]


@WITH_AND_WITHOUT_CHECKSUM
def test_dropped_connection_is_resumed(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [stop_at_half]
    assert download_pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [None, REST]


@WITH_AND_WITHOUT_CHECKSUM
def test_incomplete_download_is_kept_for_the_next_run(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [stop_at_half] + [lambda handler: handler.serve(stop_after=HALF + 1000)] * 4
    message = download_error(site, tmp_path, checksum)
    assert f"closed after {HALF + 1000:,} of {len(CONTENT):,} bytes (5 attempts)" in message
    assert message.endswith(f". {HALF + 1000:,} bytes are kept; run again to resume.")
    assert partial_sizes(tmp_path) == [HALF + 1000]
    site.requests.clear()

    assert download_pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [f"bytes={HALF + 1000}-"]
    assert partial_sizes(tmp_path) == []


def test_download_without_checksum_and_validator_is_not_resumed(site: Site, tmp_path: Path) -> None:
    site.faults = [lambda handler: handler.serve(stop_after=HALF, ETag=None)]
    assert download_pets(site, tmp_path).read_bytes() == CONTENT
    assert site.ranges == [None, None]


@WITH_AND_WITHOUT_CHECKSUM
def test_changed_file_is_downloaded_from_the_start(site: Site, tmp_path: Path, checksum: str | None) -> None:
    new_content = CONTENT

    def serve_then_replace(handler: Handler) -> None:
        site.content = new_content[::-1]
        stop_at_half(handler)
        site.content, site.tag = new_content, '"2"'

    site.faults = [serve_then_replace]
    assert download_pets(site, tmp_path, checksum).read_bytes() == new_content
    assert site.ranges == [None, REST]  # because of If-Range, the server answered with the whole new file


@WITH_AND_WITHOUT_CHECKSUM
def test_complete_partial_file_is_only_verified(
    site: Site, tmp_path: Path, checksum: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "verify_checksum", killed)
        with pytest.raises(KeyboardInterrupt):
            download_pets(site, tmp_path, checksum)
    site.faults = [respond_with(416, ETag='"1"', Content_Range=f"bytes */{len(CONTENT)}")]
    assert download_pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges == [None, f"bytes={len(CONTENT)}-"]


def respond_with_part(body: bytes, first: int, *, tag: str = '"1"') -> Callable[[Handler], None]:
    """Return a fault: a partial response that declares to start at byte `first`."""
    span = f"bytes {first}-{first + len(body) - 1}/{len(CONTENT)}"
    return respond_with(206, body, ETag=tag, Content_Range=span)


@WITH_AND_WITHOUT_CHECKSUM
@pytest.mark.parametrize(
    "fault",
    [
        respond_with(200, CONTENT, ETag='"1"'),
        respond_with(416, Content_Range=f"bytes */{len(CONTENT)}"),
        respond_with_part(CONTENT[::-1][HALF:], HALF, tag='"2"'),
        respond_with_part(CONTENT[HALF - 1 :], HALF - 1),
        respond_with_part(CONTENT[HALF:-100], HALF),
        respond_with(206, CONTENT[HALF:], ETag='"1"'),
    ],
    ids=["ignores Range", "416", "other version", "begins earlier", "ends earlier", "no Content-Range"],
)
def test_unusable_range_response_restarts_the_download(
    site: Site, tmp_path: Path, fault: Callable[[Handler], None], checksum: str | None
) -> None:
    site.faults = [stop_at_half, fault]
    assert download_pets(site, tmp_path, checksum).read_bytes() == CONTENT
    assert site.ranges[:2] == [None, REST]
    assert site.ranges[2:] in ([], [None])


@WITH_AND_WITHOUT_CHECKSUM
def test_wrong_content_length_raises_data_error(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [respond_with(200, CONTENT, Content_Length=len(CONTENT) + 7)] * 5
    assert f"closed after {len(CONTENT):,} of {len(CONTENT) + 7:,} bytes" in download_error(site, tmp_path, checksum)


def test_file_with_wrong_checksum_is_deleted_and_downloaded_again(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(200, CONTENT[::-1])]
    digest = hashlib.sha256(CONTENT[::-1]).hexdigest()
    message = download_error(site, tmp_path, CHECKSUM)
    assert f"/pets.zip: expected {CHECKSUM}, got sha256:{digest}. " in message
    assert message.endswith("Run again, or correct dataset.checksum.")
    assert partial_sizes(tmp_path) == []
    assert download_pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


@WITH_AND_WITHOUT_CHECKSUM
def test_missing_file_is_not_retried(site: Site, tmp_path: Path, checksum: str | None) -> None:
    site.faults = [respond_with(404, b"<h1>Not here</h1>", Content_Type="text/html")]
    message = download_error(site, tmp_path, checksum)
    assert message == (
        f"Cannot download {site.address}/pets.zip: the server answered 404 Not Found. Correct the URL, or set "
        "dataset.source=PATH or dataset.mirror."
    )
    assert len(site.requests) == 1
    assert partial_sizes(tmp_path) == []


def test_server_errors_are_retried_a_limited_number_of_times(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(503)] * 2
    assert download_pets(site, tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 3
    site.faults = [respond_with(500)] * 5
    message = download_error(site, tmp_path / "again")
    assert "the server answered 500 Internal Server Error (5 attempts). Download it yourself" in message


def test_web_page_is_refused_unless_the_checksum_matches(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(200, b"<h1>Sign in</h1>", Content_Type="text/html; charset=utf-8")]
    assert download_error(site, tmp_path).endswith("is a web page, not a file. Pass the URL of the file itself.")
    site.faults = [respond_with(200, CONTENT, Content_Type="text/html")]
    assert download_pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


def test_response_without_length_requires_a_checksum(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(200, CONTENT[:HALF], Content_Length=None)] * 2
    assert "the server does not send its size. Set dataset.checksum=sha256:HEX" in download_error(site, tmp_path)
    assert "got sha256:" in download_error(site, tmp_path, CHECKSUM)
    site.faults = [respond_with(200, CONTENT, Content_Length=None)]
    assert download_pets(site, tmp_path, CHECKSUM).read_bytes() == CONTENT


def test_truncated_chunked_response_is_retried(site: Site, tmp_path: Path) -> None:
    headers = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    cut = b"%x\r\n%s\r\n" % (HALF, CONTENT[:HALF])
    whole = cut + b"%x\r\n%s\r\n0\r\n\r\n" % (HALF, CONTENT[HALF:])
    site.faults = [respond_with(200, cut, **headers), respond_with(200, whole, **headers)]
    assert download_pets(site, tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_redirects_are_followed_up_to_a_limit(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(302, Location="/there/the pets.zip?a=b")]
    assert download_pets(site, tmp_path).read_bytes() == CONTENT
    assert site.requests[1] == ("/there/the%20pets.zip?a=b", None)
    site.faults = [respond_with(301, Location="/pets.zip")] * 6
    assert "redirects more than 5 times" in download_error(site, tmp_path / "again")


@pytest.mark.parametrize(
    "target",
    ["http://example.invalid/pets.zip", "file:///etc/passwd", "ftp://127.0.0.1/", "http://127.0.0.1@example.invalid/"],
)
def test_redirect_to_a_url_that_is_not_https_raises_data_error(site: Site, tmp_path: Path, target: str) -> None:
    site.faults = [respond_with(302, Location=target)]
    message = download_error(site, tmp_path, CHECKSUM)
    assert message.startswith(f"{site.address}/pets.zip redirects to {target}, which is not an https URL. ")


def test_redirect_to_an_invalid_url_raises_data_error(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(302, Location="http://[")]
    assert "redirects to http://[, which is not a URL" in download_error(site, tmp_path)


@pytest.mark.parametrize(
    ("url", "requested_url", "safe"),
    [
        ("https://a.org/x", "https://b.org/x", True),
        ("http://b.org/x", "https://b.org/x", False),
        ("http://b.org/x", "http://b.org/x", False),
        ("http://localhost:8000/x", "http://[::1]:80/x", True),
        ("http://localhost/x", "https://b.org/x", False),  # a remote site must not redirect to a local service
        ("https://b.org/x", "http://127.0.0.1/x", True),
        ("http://localhost.b.org/x", "http://localhost/x", False),
        ("http://localhost:80@b.org/x", "http://localhost/x", False),
        ("file:///x", "file:///x", False),
    ],
)
def test_plain_http_is_allowed_for_localhost_only(url: str, requested_url: str, safe: bool) -> None:
    assert https.is_safe_url(url, requested_url=requested_url) is safe


def test_plain_http_ignores_proxies(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://example.invalid:1")
    assert download_pets(site, tmp_path).read_bytes() == CONTENT


@WITH_AND_WITHOUT_CHECKSUM
def test_silent_server_times_out(
    site: Site, tmp_path: Path, checksum: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "TIMEOUT", 0.2)
    monkeypatch.setattr(transfer, "MAX_ATTEMPTS", 2)
    site.faults = [hang_at_half, lambda handler: handler.server.finished.wait()]
    message = download_error(site, tmp_path, checksum)
    assert re.search(r"timed out.* \(2 attempts\)\. 524,288 bytes are kept", message)


def test_slow_server_is_interrupted(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SPEED_WINDOW", 0)
    monkeypatch.setattr(transfer, "MIN_BYTES_PER_SECOND", 10**12)
    monkeypatch.setattr(transfer, "MAX_ATTEMPTS", 2)
    site.faults = [drip] * 2
    assert "slower than 1,000,000,000,000 bytes per second (2 attempts). " in download_error(site, tmp_path)


def test_unknown_host_raises_data_error_without_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(
        DataError, match=r"Name or service not known\. Download it yourself and pass it as dataset\.sour"
    ):
        download_file("https://example.invalid/pets.zip", tmp_path)


def test_refused_connection_is_retried(site: Site, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(
            DataError, match=r"refused.* \(5 attempts\)\. Download it yourself .* or set dataset\.mirror"
        ):
            download_file(f"http://127.0.0.1:{port}/pets.zip", tmp_path)


def test_file_larger_than_the_free_space_is_refused_before_the_download(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(200, Content_Length=10**18)]
    with pytest.raises(
        StorageError, match=r" has [\d,]+ bytes free, but 1,000,000,000,000,000,000 are required\. Free spac"
    ):
        download_pets(site, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_raises_storage_error(site: Site, tmp_path: Path) -> None:
    site.faults = [respond_with(404)]
    download_error(site, tmp_path)
    (folder,) = tmp_path.iterdir()
    (folder / "pets.zip.partial").symlink_to("/dev/full")
    with pytest.raises(StorageError, match=r"No space left on device\. Free space there or set CNN_CLASSIFIER_HOME"):
        download_pets(site, tmp_path)
    assert list(tmp_path.rglob("pets.zip")) == []
