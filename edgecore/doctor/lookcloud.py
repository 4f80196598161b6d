"""Look whether the cloud can be reached, step by step as edgecore does it; blocks.

Nothing secret is sent: what is asked for, the authority's certificate, everybody may have.
"""

import http.client
import os
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from common import pki
from common.errors import CertificateError
from common.tls import unverified_context
from edgecore.config import EdgeSettings
from edgecore.doctor.reach import Exchanges, Port, Reach, Shown

PATIENCE_S: Final = 5.0
"""For each step."""

PADDING_BYTES: Final = 6000
"""Of a large request: four packets of a usual network."""

_PART_BYTES: Final = 1000  # of one header: what cloudcore takes in
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PASSWORD: Final = re.compile(r"//[^/@]*@")


def look(settings: EdgeSettings, authorities: list[bytes], known: datetime | None) -> Reach:
    """Return how far one gets.

    Args:
        settings: where the cloud is.
        authorities: that are trusted here, DER.
        known: the last time that the cloud has told.
    """
    cloud, proxies = settings.cloud, _proxies(os.environ)
    try:
        found = socket.getaddrinfo(cloud, settings.websocket_port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Reach(cloud, datetime.now(UTC), known, name_error=words, proxies=proxies)
    link = _port("--websocket-port", cloud, settings.websocket_port)
    enrolment = _port("--https-port", cloud, settings.https_port)
    return Reach(
        cloud,
        datetime.now(UTC),
        known,
        addresses=tuple(dict.fromkeys(str(address[4][0]) for address in found)),
        ports=(link, enrolment),
        shown=None if link.error else _shown(cloud, link.number, authorities),
        exchanges=None if enrolment.error else _exchanges(cloud, enrolment.number),
        proxies=proxies,
    )


def _port(option: str, cloud: str, number: int) -> Port:
    try:
        with socket.create_connection((cloud, number), PATIENCE_S):
            return Port(option, number)
    except OSError as error:
        return Port(option, number, _words(error))


def _shown(cloud: str, port: int, authorities: list[bytes]) -> Shown:
    """Return what the cloud shows; that it wants to see a certificate, too, comes afterwards."""
    context = unverified_context()  # it is judged here, to say all that is wrong with it
    try:
        with (
            socket.create_connection((cloud, port), PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=cloud) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
    except OSError as error:
        return Shown(error=_words(error))
    try:
        certificate = pki.load_certificate(der or b"")
        hosts = pki.server_hosts(certificate)
        signers = [pki.load_certificate(authority) for authority in authorities]
        return Shown(
            hosts=tuple(sorted(hosts)),
            is_named=pki.canonical_hosts([cloud]) <= hosts,
            is_trusted=any(pki.has_signed(one, certificate) for one in signers)
            if signers
            else None,
            der=der or b"",
        )
    except CertificateError as error:
        return Shown(error=f"its certificate cannot be read: {error}")


def _exchanges(cloud: str, port: int) -> Exchanges:
    try:
        date = _ask(cloud, port, {})
    except (OSError, http.client.HTTPException) as error:
        return Exchanges(small=_words(error))
    count = PADDING_BYTES // _PART_BYTES
    padding = {f"X-Padding-{number}": "x" * _PART_BYTES for number in range(count)}
    try:
        _ask(cloud, port, padding)
    except (OSError, http.client.HTTPException) as error:
        return Exchanges(large=_words(error), date=date)
    return Exchanges(date=date)


def _ask(cloud: str, port: int, headers: Mapping[str, str]) -> datetime | None:
    """Return the time that the cloud tells in an answer, whatever else it says."""
    connection = http.client.HTTPSConnection(
        cloud, port, timeout=PATIENCE_S, context=unverified_context()
    )
    try:
        connection.request("GET", "/ca.crt", headers=dict(headers))
        date = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None


def _proxies(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: _PASSWORD.sub("//", value)
        for name, value in environ.items()
        if name.lower() in _PROXIES and value
    }


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S:.0f} s"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
