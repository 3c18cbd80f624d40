"""Open an address over https and nothing less, wherever it redirects to."""

import re
import socket
import string
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import cast
from urllib.error import URLError
from urllib.parse import quote, urljoin
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from cnn_classifier.errors import DataError

TIMEOUT = 30.0  # seconds that a server may be silent
MAX_REDIRECTS = 5
MANUAL_DOWNLOAD_HINT = "fetch it yourself and give it as dataset.source=PATH, or name another place with dataset.mirror"
# No second try makes these better; a certificate that is not trusted is a ValueError too.
FATAL = (socket.gaierror, ValueError, InvalidURL, str)


class InterruptedTransferError(Exception):
    """The answer did not come, or ended before the file did; another try may go on."""


def open_url(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Open an address and follow its redirects, each to a safe address or not at all.

    Returns:
        The answer, whatever its status.

    Raises:
        DataError: If an address on the way is not safe or not there.
        InterruptedTransferError: If the server cannot be talked to now.
    """
    current_url = url
    for _ in range(MAX_REDIRECTS + 1):
        if not is_safe_url(current_url, requested_url=url):
            subject = current_url if current_url == url else f"{url} leads to {current_url}, which"
            raise DataError(f"{subject} is not an https address; {MANUAL_DOWNLOAD_HINT}")
        response = connect(current_url, headers)
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or location is None:
            return response
        response.close()
        try:
            current_url = urljoin(current_url, location)
        except ValueError as error:
            raise DataError(f"{url} leads to {location}, which is no address; {MANUAL_DOWNLOAD_HINT}") from error
    raise DataError(f"{url} redirects more than {MAX_REDIRECTS} times; {MANUAL_DOWNLOAD_HINT}")


def is_safe_url(url: str, *, requested_url: str) -> bool:
    """Whether to go here: https, or plain http on this machine if that is what was asked for."""
    return url.lower().startswith("https://") or (is_localhost_url(url) and is_localhost_url(requested_url))


def is_localhost_url(url: str) -> bool:
    """Whether this is plain http that stays on this machine."""
    return re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)", url, re.IGNORECASE) is not None


def connect(url: str, headers: dict[str, str]) -> HTTPResponse:
    """One request; the opener knows no redirects, no files and no ftp."""
    opener = OpenerDirector()
    # Plain http is for this machine: no proxy carries it elsewhere.
    for handler in (ProxyHandler({} if is_localhost_url(url) else None), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        request = Request(quote(url, safe=string.punctuation), headers={"User-Agent": "cnn_classifier", **headers})
        return cast(HTTPResponse, opener.open(request, timeout=TIMEOUT))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, FATAL):
            raise DataError(f"{url} cannot be reached ({reason}); {MANUAL_DOWNLOAD_HINT}") from error
        raise InterruptedTransferError(str(reason)) from error
