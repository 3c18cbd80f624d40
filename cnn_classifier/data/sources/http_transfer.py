"""Bring one file whole, going on where an earlier try stopped."""

import re
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tqdm import tqdm

from cnn_classifier.data.sources.https import MANUAL_DOWNLOAD_HINT, InterruptedTransferError, open_url
from cnn_classifier.errors import DataError
from cnn_classifier.files import check_free_space

MAX_ATTEMPTS = 5
RETRY_DELAY = 2.0  # seconds before a further try
MIN_BYTES_PER_SECOND = 1000  # bytes a second, on average over ...
SPEED_WINDOW = 30.0  # ... so many seconds
CHUNK_BYTES = 1 << 18


def transfer(url: str, partial: Path, *, has_checksum: bool) -> None:
    """Write all of what is at an address into a file.

    Args:
        address: https, or plain http on this machine.
        partial: What an earlier try left there is gone on from.
        verifiable: Whether the caller knows the checksum. If not, we go on only from what the server says is unchanged,
            and only take a file whose end the server marks.

    Raises:
        DataError: If there is no such file, or not all of it came in `TRIES` tries.
        StorageError: If the disk has too little space for it.
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
    hint = f"{offset:,} bytes are kept and the next run goes on from there" if offset else MANUAL_DOWNLOAD_HINT
    raise DataError(f"{url}: {reason} (tried {MAX_ATTEMPTS} times); {hint}")


def attempt_transfer(url: str, partial: Path, *, has_checksum: bool) -> None:
    """One try: ask for what is missing and append it, or for all of it."""
    offset, validator = partial_state(partial, has_checksum=has_checksum)
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    with open_url(url, headers | ({"If-Range": validator} if validator else {})) as response:
        check_response(response, url, has_checksum=has_checksum)
        if is_complete(response, offset, validator):
            return
        if not is_valid_continuation(response, offset, validator):
            partial.unlink(missing_ok=True)
            raise InterruptedTransferError(f"the server does not go on after {offset:,} bytes")
        offset = offset if response.status == 206 else 0
        total = None if response.length is None else offset + response.length
        append_response(response, partial, offset, total)
    size = partial.stat().st_size
    if total is not None and size != total:
        raise InterruptedTransferError(f"the connection closed after {size:,} of {total:,} bytes")


def append_response(response: HTTPResponse, partial: Path, offset: int, total: int | None) -> None:
    """Append the answer to the bytes kept, or replace what there is if none are."""
    with partial.open("ab" if offset else "wb") as file:
        if not offset:  # the file is empty now, so the note is never about other bytes
            validator_path(partial).write_text(get_validator(response), encoding="utf-8")
        check_free_space(partial.parent, (total or 0) - offset, "Free space there or set CNN_CLASSIFIER_HOME.")
        progress = {"total": total, "initial": offset, "unit": "B", "unit_scale": True}
        with tqdm(desc=partial.stem, disable=None, **progress) as bar:
            for chunk in iter_chunks(response):
                file.write(chunk)
                bar.update(len(chunk))


def iter_chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The content as it comes, while it comes fast enough; one that stops short ends silently, so count it."""
    window_start, num_bytes = time.monotonic(), 0
    try:
        while chunk := response.read1(CHUNK_BYTES):  # unlike read(), which waits for all of it, however slowly it drips
            yield chunk
            num_bytes += len(chunk)
            elapsed = time.monotonic() - window_start
            if elapsed > SPEED_WINDOW:
                if num_bytes < MIN_BYTES_PER_SECOND * elapsed:
                    raise InterruptedTransferError(f"slower than {MIN_BYTES_PER_SECOND:,} bytes a second")
                window_start, num_bytes = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise InterruptedTransferError(str(error)) from error


def check_response(response: HTTPResponse, url: str, *, has_checksum: bool) -> None:
    """Refuse what is not the file; what the server may do better next time is an interruption."""
    if response.status >= 500:
        raise InterruptedTransferError(f"the server answered {response.status} {response.reason}")
    if response.status not in (200, 206, 416):
        raise DataError(
            f"{url} answered {response.status} {response.reason}; correct the address, or {MANUAL_DOWNLOAD_HINT}"
        )
    if has_checksum or response.status == 416:
        return
    if response.headers.get_content_type() == "text/html":
        raise DataError(f"{url} answered with a web page, not a file; give the address of the file itself")
    if response.length is None and not response.chunked:
        raise DataError(
            f"{url} does not say how long the file is; set dataset.checksum=sha256:HEX, or {MANUAL_DOWNLOAD_HINT}"
        )


def is_complete(response: HTTPResponse, offset: int, validator: str) -> bool:
    """Whether the bytes kept are all of the file already: an earlier run was killed before it checked them."""
    content_range = response.headers.get("Content-Range", "")
    return (
        response.status == 416 and content_range == f"bytes */{offset}" and get_validator(response) in ("", validator)
    )


def is_valid_continuation(response: HTTPResponse, offset: int, validator: str) -> bool:
    """Whether the answer is all of the file, or the rest after the bytes kept, of the version that they came from."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    if response.status != 206 or not match:
        return response.status == 200
    first, total = map(int, match.groups())
    return first == offset and response.length == total - first and get_validator(response) in ("", validator)


def partial_state(partial: Path, *, has_checksum: bool) -> tuple[int, str]:
    """How many bytes of an earlier try can be gone on from, and the validator of the version that they came from."""
    path = validator_path(partial)
    validator = path.read_text(encoding="utf-8") if path.exists() else ""
    offset = partial.stat().st_size if partial.exists() and (has_checksum or validator) else 0
    return offset, validator if offset else ""


def get_validator(response: HTTPResponse) -> str:
    """What names this version of the file, for If-Range: a strong ETag or a date (RFC 9110, 13.1.5); may be empty."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def validator_path(partial: Path) -> Path:
    """Where the validator is kept, beside the bytes."""
    return partial.with_name(f"{partial.name}.validator")
