"""Fetch a file once: it gets its name when all of it has come and its checksum is right, and not before."""

import hashlib
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from tqdm import tqdm

from cnn_classifier.data.sources.http_transfer import MAX_ATTEMPTS, transfer, validator_path
from cnn_classifier.data.sources.https import TIMEOUT
from cnn_classifier.errors import ConfigError, DataError, StorageError, single_line
from cnn_classifier.files import ensure_writable_dir, file_lock


def download_file(url: str, folder: Path, *, checksum: str | None = None, mirror: str | None = None) -> Path:
    """Download a file into a folder unless it is there, verified, and return its path.

    Args:
        url: An https address (plain http on this machine alone), or a Google Drive link to a file.
        folder: Created. Each pair of address and checksum has a subfolder of its own in it.
        checksum: `sha256:HEX` or `md5:HEX`; if None, the file's own is told, to be pinned.
        mirror: Where to ask for the file's name instead of at `url`: `MIRROR/NAME`; if None, what the environment
            variable CNN_CLASSIFIER_MIRROR says. A Google Drive link names no file, so it has no mirror.

    Raises:
        ConfigError: If the checksum is malformed, or a Drive link is given without gdown.
        DataError: If the file cannot be had, or is not the one that the checksum names.
        StorageError: If it cannot be written.
    """
    checksum = normalize_checksum(checksum)
    key = hashlib.sha256(f"{url} {checksum}".encode()).hexdigest()[:16]
    path = folder / key / filename_from_url(url)
    if path.is_file():
        return path
    mirror = mirror or os.environ.get("CNN_CLASSIFIER_MIRROR")
    try:
        ensure_writable_dir(path.parent)
        with file_lock(path):
            if not path.is_file():  # otherwise another run fetched it while we waited
                partial = path.with_name(f"{path.name}.partial")
                if is_drive_url(url):
                    download_from_drive(url, partial, has_checksum=checksum is not None)
                else:
                    download_url = f"{mirror.rstrip('/')}/{path.name}" if mirror else url
                    transfer(download_url, partial, has_checksum=checksum is not None)
                verify_checksum(partial, url, checksum)
                partial.replace(path)
                validator_path(partial).unlink(missing_ok=True)
    except OSError as error:  # the network's are told from these where they happen
        raise StorageError(
            f"{path.parent}: {error.strerror or error}; free space there or set CNN_CLASSIFIER_HOME"
        ) from error
    return path


def normalize_checksum(checksum: str | None) -> str | None:
    """The checksum in small letters."""
    if checksum is None:
        return None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum.lower()):
        raise ConfigError(f"dataset.checksum={checksum} is malformed; expected sha256:HEX (64 digits) or md5:HEX (32)")
    return checksum.lower()


def filename_from_url(url: str) -> str:
    """The last part of the address's path, in letters that every file system takes."""
    basename = unquote(re.split(r"[?#]", url)[0].rpartition("/")[2])
    return re.sub(r"(?a)[^\w.-]", "_", basename)[-100:].strip(".") or "download"


def verify_checksum(partial: Path, url: str, checksum: str | None) -> None:
    """Check what is on the disk, and see that it is on the disk; a wrong file is removed."""
    algorithm = checksum.partition(":")[0] if checksum else "sha256"
    with partial.open("rb+") as file:  # Windows syncs only what is open for writing
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        os.fsync(file.fileno())
    actual = f"{algorithm}:{digest.hexdigest()}"
    if checksum is None:
        tqdm.write(f"{url} is {actual}; set dataset.checksum={actual} to always get this file", file=sys.stderr)
    elif actual != checksum:
        partial.unlink()
        validator_path(partial).unlink(missing_ok=True)
        raise DataError(
            f"{url}: expected {checksum}, found {actual}; it was damaged on its way or replaced at its source: "
            "run again, or correct dataset.checksum"
        )


def is_drive_url(url: str) -> bool:
    return url.startswith("https://drive.google.com/")


def download_from_drive(url: str, partial: Path, *, has_checksum: bool) -> None:
    """Fetch what a Google Drive link shows, by the library that knows Drive's pages."""
    try:
        import gdown
        from requests import RequestException
    except ModuleNotFoundError as error:
        raise ConfigError(f'{url} needs the drive extra: pip install "cnn_classifier[drive]"') from error
    if gdown.parse_url.parse_url(url=url)[0] is None:
        raise DataError(f"{url} is no link to a file; expected one like https://drive.google.com/file/d/ID/view")
    if not has_checksum:  # what a killed run left may be of another version
        for stale in partial.parent.glob(f"{partial.name}*.part"):
            stale.unlink()
    try:
        gdown.download(
            url,
            str(partial),
            quiet=not sys.stderr.isatty(),
            use_cookies=False,
            resume=has_checksum,
            timeout=TIMEOUT,
            retries=MAX_ATTEMPTS - 1,
        )
    except (gdown.exceptions.DownloadError, RequestException) as error:
        message = single_line(error)
        raise DataError(f"{url}: {message}; share it with everyone, or give the file as dataset.source=PATH") from error
