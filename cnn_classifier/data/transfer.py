"""Bring one file whole, going on where an earlier try stopped."""

import re
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tqdm import tqdm

from cnn_classifier.data.https import BY_HAND, InterruptedTransferError, ask
from cnn_classifier.errors import DataError
from cnn_classifier.storage import require_space

TRIES = 5
PAUSE = 2.0  # seconds before a further try
SLOWEST = 1000  # bytes a second, on average over ...
WINDOW = 30.0  # ... so many seconds
CHUNK = 1 << 18


def transfer(address: str, partial: Path, *, verifiable: bool) -> None:
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
    for attempt in range(TRIES):
        time.sleep(PAUSE if attempt else 0)
        try:
            receive(address, partial, verifiable=verifiable)
        except InterruptedTransferError as error:
            reason = str(error)
        else:
            return
    kept, _ = left_over(partial, verifiable=verifiable)
    hint = f"{kept:,} bytes are kept and the next run goes on from there" if kept else BY_HAND
    raise DataError(f"{address}: {reason} (tried {TRIES} times); {hint}")


def receive(address: str, partial: Path, *, verifiable: bool) -> None:
    """One try: ask for what is missing and append it, or for all of it."""
    kept, validator = left_over(partial, verifiable=verifiable)
    wanted = {"Range": f"bytes={kept}-"} if kept else {}
    with ask(address, wanted | ({"If-Range": validator} if validator else {})) as answer:
        require_file(answer, address, verifiable=verifiable)
        if is_whole(answer, kept, validator):
            return
        if not goes_on(answer, kept, validator):
            partial.unlink(missing_ok=True)
            raise InterruptedTransferError(f"the server does not go on after {kept:,} bytes")
        kept = kept if answer.status == 206 else 0
        total = None if answer.length is None else kept + answer.length
        write(answer, partial, kept, total)
    size = partial.stat().st_size
    if total is not None and size != total:
        raise InterruptedTransferError(f"the connection closed after {size:,} of {total:,} bytes")


def write(answer: HTTPResponse, partial: Path, kept: int, total: int | None) -> None:
    """Append the answer to the bytes kept, or replace what there is if none are."""
    with partial.open("ab" if kept else "wb") as file:
        if not kept:  # the file is empty now, so the note is never about other bytes
            validator_file(partial).write_text(validator_of(answer), encoding="utf-8")
        require_space(partial.parent, (total or 0) - kept, "free space there or set CNN_CLASSIFIER_HOME")
        progress = {"total": total, "initial": kept, "unit": "B", "unit_scale": True}
        with tqdm(desc=partial.stem, disable=None, **progress) as bar:
            for chunk in chunks(answer):
                file.write(chunk)
                bar.update(len(chunk))


def chunks(answer: HTTPResponse) -> Iterator[bytes]:
    """The content as it comes, while it comes fast enough; one that stops short ends silently, so count it."""
    begin, arrived = time.monotonic(), 0
    try:
        while chunk := answer.read1(CHUNK):  # unlike read(), which waits for all of it, however slowly it drips
            yield chunk
            arrived += len(chunk)
            passed = time.monotonic() - begin
            if passed > WINDOW:
                if arrived < SLOWEST * passed:
                    raise InterruptedTransferError(f"slower than {SLOWEST:,} bytes a second")
                begin, arrived = time.monotonic(), 0
    except (OSError, HTTPException) as error:
        raise InterruptedTransferError(str(error)) from error


def require_file(answer: HTTPResponse, address: str, *, verifiable: bool) -> None:
    """Refuse what is not the file; what the server may do better next time is an interruption."""
    if answer.status >= 500:
        raise InterruptedTransferError(f"the server answered {answer.status} {answer.reason}")
    if answer.status not in (200, 206, 416):
        raise DataError(f"{address} answered {answer.status} {answer.reason}; correct the address, or {BY_HAND}")
    if verifiable or answer.status == 416:
        return
    if answer.headers.get_content_type() == "text/html":
        raise DataError(f"{address} answered with a web page, not a file; give the address of the file itself")
    if answer.length is None and not answer.chunked:
        raise DataError(f"{address} does not say how long the file is; set dataset.checksum=sha256:HEX, or {BY_HAND}")


def is_whole(answer: HTTPResponse, kept: int, validator: str) -> bool:
    """Whether the bytes kept are all of the file already: an earlier run was killed before it checked them."""
    told = answer.headers.get("Content-Range", "")
    return answer.status == 416 and told == f"bytes */{kept}" and validator_of(answer) in ("", validator)


def goes_on(answer: HTTPResponse, kept: int, validator: str) -> bool:
    """Whether the answer is all of the file, or the rest after the bytes kept, of the version that they came from."""
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if answer.status != 206 or not found:
        return answer.status == 200
    first, total = map(int, found.groups())
    return first == kept and answer.length == total - first and validator_of(answer) in ("", validator)


def left_over(partial: Path, *, verifiable: bool) -> tuple[int, str]:
    """How many bytes of an earlier try can be gone on from, and the validator of the version that they came from."""
    note = validator_file(partial)
    validator = note.read_text(encoding="utf-8") if note.exists() else ""
    kept = partial.stat().st_size if partial.exists() and (verifiable or validator) else 0
    return kept, validator if kept else ""


def validator_of(answer: HTTPResponse) -> str:
    """What names this version of the file, for If-Range: a strong ETag or a date (RFC 9110, 13.1.5); may be empty."""
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def validator_file(partial: Path) -> Path:
    """Where the validator is kept, beside the bytes."""
    return partial.with_name(f"{partial.name}.validator")
