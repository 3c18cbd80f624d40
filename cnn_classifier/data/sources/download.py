"""Verified downloads, each stored under its name only when it is complete and its checksum matches."""

import hashlib
import os
import re
import sys
from pathlib import Path
from urllib.parse import unquote

from tqdm import tqdm

from cnn_classifier.data.sources.http_transfer import MAX_ATTEMPTS, transfer, validator_path
from cnn_classifier.data.sources.https import TIMEOUT, DownloadError, check_online
from cnn_classifier.errors import ConfigError, DataError, StorageError, install_command, single_line
from cnn_classifier.files import ensure_writable_dir, file_lock


def download_file(url: str, folder: Path, *, checksum: str | None = None, mirror: str | None = None) -> Path:
    """Download a file into a folder, unless it is there, and return its path.

    Args:
        url: An https URL, a http URL of this machine, or a Google Drive link to a file.
        folder: The download folder. Each pair of URL and checksum has its own subfolder.
        checksum: The expected checksum, `sha256:HEX` or `md5:HEX`. If None, the SHA-256 is printed, to be pinned.
        mirror: The URL of a mirror; the file is downloaded from `MIRROR/NAME` instead of `url`. Defaults to the
            environment variable CNN_CLASSIFIER_MIRROR. Google Drive links contain no file name and ignore it.

    Raises:
        ConfigError: If the checksum is malformed, or gdown is missing for a Google Drive link.
        DataError: If the file cannot be downloaded or has another checksum.
        StorageError: If the file cannot be written.
    """
    checksum = normalize_checksum(checksum)
    key = hashlib.sha256(f"{url} {checksum}".encode()).hexdigest()[:16]
    path = folder / key / filename_from_url(url)
    if path.is_file():
        return path
    return download_to(path, url, checksum=checksum, mirror=mirror or os.environ.get("CNN_CLASSIFIER_MIRROR"))


def download_to(path: Path, url: str, *, checksum: str | None, mirror: str | None = None) -> Path:
    """Download a file, unless another process does so meanwhile, and return its path.

    Args:
        path: The file to write. It appears under this name when it is complete and verified.
        url: The URL, as for `download_file`.
        checksum: The expected checksum or its first digits; if None, the SHA-256 is printed.
        mirror: The URL of a mirror, as for `download_file`.

    Raises:
        DataError: If the file cannot be downloaded or has another checksum.
        StorageError: If the file cannot be written.
    """
    check_online(url)
    try:
        ensure_writable_dir(path.parent)
        with file_lock(path):
            if not path.is_file():  # otherwise another process downloaded it while this one waited
                partial = path.with_name(f"{path.name}.partial")
                if is_drive_url(url):
                    download_from_drive(url, partial, has_checksum=checksum is not None)
                else:
                    download_url = f"{mirror.rstrip('/')}/{path.name}" if mirror else url
                    transfer(download_url, partial, has_checksum=checksum is not None)
                verify_checksum(partial, url, checksum)
                partial.replace(path)
                validator_path(partial).unlink(missing_ok=True)
    except OSError as error:  # network errors are converted where they occur
        raise StorageError(
            f"Cannot write {path.parent}: {error.strerror or error}. Free space there or set CNN_CLASSIFIER_HOME."
        ) from error
    return path


def normalize_checksum(checksum: str | None) -> str | None:
    """Return a checksum in lower case; raise `ConfigError` if it is malformed."""
    if checksum is None:
        return None
    if not re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", checksum.lower()):
        raise ConfigError(
            f"dataset.checksum={checksum} is malformed. Expected sha256:HEX (64 digits) or md5:HEX (32 digits)."
        )
    return checksum.lower()


def filename_from_url(url: str) -> str:
    """Return the last component of a URL's path, with characters that are valid on every file system."""
    basename = unquote(re.split(r"[?#]", url)[0].rpartition("/")[2])
    return re.sub(r"(?a)[^\w.-]", "_", basename)[-100:].strip(".") or "download"


def verify_checksum(partial: Path, url: str, checksum: str | None) -> None:
    """Flush a downloaded file to the disk and verify its checksum, or the start of it; delete a file that differs."""
    algorithm = checksum.partition(":")[0] if checksum else "sha256"
    with partial.open("rb+") as file:  # Windows can only sync files that are open for writing
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        os.fsync(file.fileno())
    actual = f"{algorithm}:{digest.hexdigest()}"
    if checksum is None:
        tqdm.write(f"{url} has checksum {actual}; set dataset.checksum={actual} to pin this file", file=sys.stderr)
    elif not actual.startswith(checksum):
        partial.unlink()
        validator_path(partial).unlink(missing_ok=True)
        raise DownloadError(
            f"Checksum mismatch for {url}: expected {checksum}, got {actual}",
            "The file was damaged during the download or replaced at its source. Run again, or correct "
            "dataset.checksum.",
        )


def is_drive_url(url: str) -> bool:
    """Return whether a URL is a Google Drive link."""
    return url.startswith("https://drive.google.com/")


def download_from_drive(url: str, partial: Path, *, has_checksum: bool) -> None:
    """Download the file of a Google Drive link with gdown, which handles Drive's confirmation pages."""
    try:
        import gdown
        from requests import RequestException
    except ModuleNotFoundError as error:
        raise ConfigError(f"{url} requires the drive extra: {install_command('drive')}") from error
    if gdown.parse_url.parse_url(url=url)[0] is None:
        raise DataError(
            f"{url} is not a link to a file. Expected a link such as https://drive.google.com/file/d/ID/view."
        )
    if not has_checksum:  # a partial file of a killed run may be of another version
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
        raise DataError(
            f"Cannot download {url}: {message}. Share it with everyone, or pass the file as dataset.source=PATH."
        ) from error
