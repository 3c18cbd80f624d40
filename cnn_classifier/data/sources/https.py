"""HTTP requests that use https only, also after redirects."""

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
MANUAL_DOWNLOAD_HINT = "Download it yourself and pass it as dataset.source=PATH, or set dataset.mirror."
# Errors for which a retry is useless; an untrusted certificate raises a ValueError.
FATAL = (socket.gaierror, ValueError, InvalidURL, str)


class InterruptedTransferError(Exception):
    """The response did not arrive or was truncated; another attempt may continue."""


def open_url(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Open a URL and follow its redirects, each only to a safe URL.

    Args:
        url: The URL.
        headers: The request headers.

    Returns:
        The response, with any status.

    Raises:
        DataError: If a URL is not safe or its host does not exist.
        InterruptedTransferError: If the server cannot be reached at present.
    """
    current_url = url
    for _ in range(MAX_REDIRECTS + 1):
        if not is_safe_url(current_url, requested_url=url):
            subject = current_url if current_url == url else f"{url} redirects to {current_url}, which"
            raise DataError(f"{subject} is not an https URL. {MANUAL_DOWNLOAD_HINT}")
        response = connect(current_url, headers)
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or location is None:
            return response
        response.close()
        try:
            current_url = urljoin(current_url, location)
        except ValueError as error:
            raise DataError(f"{url} redirects to {location}, which is not a URL. {MANUAL_DOWNLOAD_HINT}") from error
    raise DataError(f"{url} redirects more than {MAX_REDIRECTS} times. {MANUAL_DOWNLOAD_HINT}")


def is_safe_url(url: str, *, requested_url: str) -> bool:
    """Return whether a URL is https, or plain http of this machine if that was requested."""
    return url.lower().startswith("https://") or (is_localhost_url(url) and is_localhost_url(requested_url))


def is_localhost_url(url: str) -> bool:
    """Return whether a URL is plain http of this machine."""
    return re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)", url, re.IGNORECASE) is not None


def connect(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Send one request with an opener that has no handlers for redirects, files and ftp."""
    opener = OpenerDirector()
    # Plain http is for this machine only, so it must not go through a proxy.
    for handler in (ProxyHandler({} if is_localhost_url(url) else None), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        request = Request(quote(url, safe=string.punctuation), headers={"User-Agent": "cnn_classifier", **headers})
        return cast(HTTPResponse, opener.open(request, timeout=TIMEOUT))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, FATAL):
            raise DataError(f"Cannot reach {url}: {reason}. {MANUAL_DOWNLOAD_HINT}") from error
        raise InterruptedTransferError(str(reason)) from error
