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
BY_HAND = "fetch it yourself and give it as dataset.source=PATH, or name another place with dataset.mirror"
# No second try makes these better; a certificate that is not trusted is a ValueError too.
FINAL = (socket.gaierror, ValueError, InvalidURL, str)


class InterruptedTransferError(Exception):
    """The answer did not come, or ended before the file did; another try may go on."""


def ask(address: str, headers: dict[str, str]) -> HTTPResponse:
    """Open an address and follow its redirects, each to a safe address or not at all.

    Returns:
        The answer, whatever its status.

    Raises:
        DataError: If an address on the way is not safe or not there.
        InterruptedTransferError: If the server cannot be talked to now.
    """
    here = address
    for _ in range(MAX_REDIRECTS + 1):
        if not is_safe(here, asked=address):
            what = here if here == address else f"{address} leads to {here}, which"
            raise DataError(f"{what} is not an https address; {BY_HAND}")
        answer = connect(here, headers)
        target = answer.headers.get("Location")
        if answer.status not in (301, 302, 303, 307, 308) or target is None:
            return answer
        answer.close()
        try:
            here = urljoin(here, target)
        except ValueError as error:
            raise DataError(f"{address} leads to {target}, which is no address; {BY_HAND}") from error
    raise DataError(f"{address} redirects more than {MAX_REDIRECTS} times; {BY_HAND}")


def is_safe(here: str, *, asked: str) -> bool:
    """Whether to go here: https, or plain http on this machine if that is what was asked for."""
    return here.lower().startswith("https://") or (is_local(here) and is_local(asked))


def is_local(address: str) -> bool:
    """Whether this is plain http that stays on this machine."""
    return re.match(r"http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/|$)", address, re.IGNORECASE) is not None


def connect(address: str, headers: dict[str, str]) -> HTTPResponse:
    """One request; the opener knows no redirects, no files and no ftp."""
    opener = OpenerDirector()
    # Plain http is for this machine: no proxy carries it elsewhere.
    for handler in (ProxyHandler({} if is_local(address) else None), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    try:
        request = Request(quote(address, safe=string.punctuation), headers={"User-Agent": "cnn_classifier", **headers})
        return cast(HTTPResponse, opener.open(request, timeout=TIMEOUT))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, FINAL):
            raise DataError(f"{address} cannot be reached ({reason}); {BY_HAND}") from error
        raise InterruptedTransferError(str(reason)) from error
