"""HTTP requests that use https only, also after redirects."""

import os
import re
import socket
import string
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import cast
from urllib.error import URLError
from urllib.parse import quote, urljoin
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from cnn_classifier.errors import DataError

TIMEOUT = 30.0  # seconds without data from the server
MAX_REDIRECTS = 5
OFFLINE_VARIABLE = "CNN_CLASSIFIER_OFFLINE"
MANUAL_DOWNLOAD_HINT = "Download it yourself and pass it as dataset.source=PATH, or set dataset.mirror."
# Errors for which a retry is useless; an untrusted certificate raises a ValueError.
FATAL = (socket.gaierror, ValueError, InvalidURL, str)


class InterruptedTransferError(Exception):
    """The response did not arrive or was truncated; another attempt may continue."""


class DownloadError(DataError):
    """A file cannot be downloaded.

    Args:
        reason: The reason, without a period.
        hint: The way to get a dataset nevertheless, which is appended to the message.
    """

    def __init__(self, reason: str, hint: str = MANUAL_DOWNLOAD_HINT) -> None:
        super().__init__(f"{reason}. {hint}")
        self.reason = reason


def check_online(url: str) -> None:
    """Raise `DownloadError` if the environment variable `OFFLINE_VARIABLE` forbids downloads."""
    value = os.environ.get(OFFLINE_VARIABLE, "")
    if value not in ("", "0"):
        raise DownloadError(
            f"{url} is not downloaded, because {OFFLINE_VARIABLE}={value}", f"Unset it, or: {MANUAL_DOWNLOAD_HINT}"
        )


def request_size(url: str, *, timeout: float) -> int | None:
    """Return the size of a file in bytes, None if the server does not say it.

    Args:
        url: An https URL, or a http URL of this machine.
        timeout: The number of seconds to wait for an answer.

    Raises:
        DownloadError: If the server cannot be reached or does not have the file.
    """
    check_online(url)
    try:
        with open_url(url, {}, timeout=timeout) as response:
            if response.status != 200:
                raise DownloadError(f"Cannot download {url}: the server answered {response.status} {response.reason}")
            return response.length
    except InterruptedTransferError as error:
        raise DownloadError(f"Cannot reach {url}: {error}") from error


def open_url(url: str, headers: dict[str, str], *, timeout: float | None = None) -> HTTPResponse:
    """Open a URL and follow its redirects, each only to a safe URL.

    Args:
        url: The URL.
        headers: The request headers.
        timeout: The number of seconds without data after which the server counts as unreachable; `TIMEOUT` if None.

    Returns:
        The response, with any status.

    Raises:
        DownloadError: If a URL is not safe or its host does not exist.
        InterruptedTransferError: If the server cannot be reached at present.
    """
    current_url = url
    for _ in range(MAX_REDIRECTS + 1):
        if not is_safe_url(current_url, requested_url=url):
            subject = current_url if current_url == url else f"{url} redirects to {current_url}, which"
            raise DownloadError(f"{subject} is not an https URL")
        response = connect(current_url, headers, timeout or TIMEOUT)
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or location is None:
            return response
        response.close()
        try:
            current_url = urljoin(current_url, location)
        except ValueError as error:
            raise DownloadError(f"{url} redirects to {location}, which is not a URL") from error
    raise DownloadError(f"{url} redirects more than {MAX_REDIRECTS} times")


def is_safe_url(url: str, *, requested_url: str) -> bool:
    """Return whether a URL is https, or plain http of this machine if that was requested."""
    return url.lower().startswith("https://") or (is_localhost_url(url) and is_localhost_url(requested_url))


def is_localhost_url(url: str) -> bool:
    """Return whether a URL is plain http of this machine."""
    return re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)", url, re.IGNORECASE) is not None


def connect(url: str, headers: dict[str, str], timeout: float) -> HTTPResponse:
    """Send one request with an opener that has no handlers for redirects, files and ftp."""
    opener = OpenerDirector()
    # Plain http is for this machine only, so it must not go through a proxy.
    for handler in (ProxyHandler({} if is_localhost_url(url) else None), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        request = Request(quote(url, safe=string.punctuation), headers={"User-Agent": "cnn_classifier", **headers})
        return cast(HTTPResponse, opener.open(request, timeout=timeout))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, FATAL):
            raise DownloadError(f"Cannot reach {url}: {reason}") from error
        raise InterruptedTransferError(str(reason)) from error
