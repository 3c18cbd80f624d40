"""Resumable download of one file, with retries and a minimum speed."""

import os
import re
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from cnn_classifier.data.sources.https import MANUAL_DOWNLOAD_HINT, DownloadError, InterruptedTransferError, open_url
from cnn_classifier.files import check_free_space
from cnn_classifier.progress import QUIET_VARIABLE, progress_bar

MAX_ATTEMPTS = 5
RETRY_DELAY = 2.0  # seconds between attempts
MIN_BYTES_PER_SECOND = 1000  # the average over SPEED_WINDOW below which a transfer is interrupted
SPEED_WINDOW = 30.0  # seconds
CHUNK_BYTES = 1 << 18


def transfer(url: str, partial: Path, *, has_checksum: bool) -> None:
    """Download a URL into a file, resuming an earlier attempt.

    Args:
        url: An https URL, or a http URL of this machine.
        partial: The file to write. Its content from an earlier attempt is continued.
        has_checksum: Whether the caller verifies a checksum. Without one, an earlier attempt is continued only if the
            server says that the file is unchanged, and the server must mark the end of the file.

    Raises:
        DownloadError: If there is no such file, or it is not complete after `MAX_ATTEMPTS` attempts.
        StorageError: If the disk has too little free space.
        OSError: If the file cannot be written.
    """
    reason = ""
    for attempt in range(MAX_ATTEMPTS):
        time.sleep(RETRY_DELAY if attempt else 0)
        try:
            attempt_transfer(url, partial, has_checksum=has_checksum)
        except InterruptedTransferError as error:
            reason = str(error)
        else:
            return
    offset, _ = partial_state(partial, has_checksum=has_checksum)
    hint = f"{offset:,} bytes are kept; run again to resume." if offset else MANUAL_DOWNLOAD_HINT
    raise DownloadError(f"Cannot download {url}: {reason} ({MAX_ATTEMPTS} attempts)", hint)


def attempt_transfer(url: str, partial: Path, *, has_checksum: bool) -> None:
    """Request the missing bytes and append them, or request the whole file."""
    offset, validator = partial_state(partial, has_checksum=has_checksum)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with open_url(url, headers | ({"If-Range": validator} if validator else {})) as response:
        check_response(response, url, has_checksum=has_checksum)
        if is_complete(response, offset, validator):
            return
        if not is_valid_continuation(response, offset, validator):
            partial.unlink(missing_ok=True)
            raise InterruptedTransferError(f"the server does not continue after {offset:,} bytes")
        offset = offset if response.status == 206 else 0
        total = None if response.length is None else offset + response.length
        print_transfer(url, partial, offset, total)
        append_response(response, partial, offset, total)
    size = partial.stat().st_size
    if total is not None and size != total:
        raise InterruptedTransferError(f"the connection closed after {size:,} of {total:,} bytes")


def print_transfer(url: str, partial: Path, offset: int, total: int | None) -> None:
    """Print the source, the size and the destination of a transfer on standard error, also without a terminal."""
    size = "unknown size" if total is None else f"{total / 1e6:,.1f} MB"
    resumed = f", continued after {offset / 1e6:,.1f} MB" if offset else ""
    if QUIET_VARIABLE not in os.environ:
        print(f"downloading {url} ({size}{resumed}) to {partial.parent}", file=sys.stderr)


def append_response(response: HTTPResponse, partial: Path, offset: int, total: int | None) -> None:
    """Append a response to a partial file, or overwrite the file if `offset` is 0.

    Args:
        response: The response with the bytes from `offset` on.
        partial: The file to write.
        offset: The number of bytes to keep.
        total: The size of the complete file in bytes; None if it is unknown.
    """
    with partial.open("ab" if offset else "wb") as file:
        if not offset:  # the file was truncated, so the validator never belongs to other bytes
            validator_path(partial).write_text(get_validator(response), encoding="utf-8")
        check_free_space(partial.parent, (total or 0) - offset, "Free space there or set CNN_CLASSIFIER_HOME.")
        with progress_bar(None, partial.stem, total, initial=offset, unit="B", unit_scale=True, leave=True) as bar:
            for chunk in iter_chunks(response):
                file.write(chunk)
                bar.update(len(chunk))


def iter_chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the content as it arrives; a truncated response ends without an error, so the caller checks the size."""
    window_start, num_bytes = time.monotonic(), 0
    try:
        while chunk := response.read1(CHUNK_BYTES):  # read() would wait for a full chunk
            yield chunk
            num_bytes += len(chunk)
            elapsed = time.monotonic() - window_start
            if elapsed > SPEED_WINDOW:
                if num_bytes < MIN_BYTES_PER_SECOND * elapsed:
                    raise InterruptedTransferError(f"slower than {MIN_BYTES_PER_SECOND:,} bytes per second")
                window_start, num_bytes = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise InterruptedTransferError(str(error)) from error


def check_response(response: HTTPResponse, url: str, *, has_checksum: bool) -> None:
    """Raise `DownloadError` if a response is not the file, or `InterruptedTransferError` if a retry may help."""
    if response.status >= 500:
        raise InterruptedTransferError(f"the server answered {response.status} {response.reason}")
    if response.status not in (200, 206, 416):
        raise DownloadError(
            f"Cannot download {url}: the server answered {response.status} {response.reason}",
            "Correct the URL, or set dataset.source=PATH or dataset.mirror.",
        )
    if has_checksum or response.status == 416:
        return
    if response.headers.get_content_type() == "text/html":
        raise DownloadError(f"{url} is a web page, not a file", "Pass the URL of the file itself.")
    if response.length is None and not response.chunked:
        raise DownloadError(
            f"Cannot download {url}: the server does not send its size",
            "Set dataset.checksum=sha256:HEX, or download it yourself and pass it as dataset.source=PATH.",
        )


def is_complete(response: HTTPResponse, offset: int, validator: str) -> bool:
    """Return whether the partial file is already complete, because an earlier run was killed before verifying it."""
    content_range = response.headers.get("Content-Range", "")
    return (
        response.status == 416 and content_range == f"bytes */{offset}" and get_validator(response) in ("", validator)
    )


def is_valid_continuation(response: HTTPResponse, offset: int, validator: str) -> bool:
    """Return whether a response is the whole file, or the rest of it after `offset`, of the same version."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if response.status != 206 or not match:
        return response.status == 200
    first, total = map(int, match.groups())
    return first == offset and response.length == total - first and get_validator(response) in ("", validator)


def partial_state(partial: Path, *, has_checksum: bool) -> tuple[int, str]:
    """Return the number of bytes to resume from and the validator of their version; (0, "") if there are none."""
    path = validator_path(partial)
    validator = path.read_text(encoding="utf-8") if path.exists() else ""
    offset = partial.stat().st_size if partial.exists() and (has_checksum or validator) else 0
    return offset, validator if offset else ""


def get_validator(response: HTTPResponse) -> str:
    """Return the version of the file for If-Range: a strong ETag or a date (RFC 9110, 13.1.5), or ""."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def validator_path(partial: Path) -> Path:
    """Return the file beside a partial file that stores the validator."""
    return partial.with_name(f"{partial.name}.validator")
