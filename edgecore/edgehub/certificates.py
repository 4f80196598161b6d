"""What the daemon has to know of certificates, without the library that knows all of them. Pure.

``cryptography`` would cost an edge 10 MiB for as long as it runs; dates and hashes need little.
"""

import base64
import binascii
import hashlib
import re
import zlib
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from common.errors import CertificateError

RENEWED_AT: Final = 2 / 3
"""Part of a certificate's life after which it is renewed, at the earliest."""

SPREAD: Final = 1 / 12
"""Part of its life over which the nodes of a fleet that was enrolled on one day spread."""

FAR_OFF: Final = timedelta(hours=1)
"""A machine's clock that is this far from the cloud's is worth a warning."""

_PEM: Final = re.compile(
    "-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\\s]+)-----END CERTIFICATE-----", re.ASCII
)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_TIMES: Final = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}
_LONG: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4
_HASH_RANGE: Final = 1 << 32
_UNITS: Final = ((24 * 365.25, "years"), (24.0, "days"), (1.0, "hours"))


class Validity(Struct, frozen=True):
    """From when until when a certificate is good."""

    not_before: datetime
    not_after: datetime

    def renewal_due(self, node: str) -> datetime:
        """Return when ``node`` renews it: at two thirds of its life or a little later.

        The same for each call, and another for each node.
        """
        part = RENEWED_AT + SPREAD * share_of(node)
        return self.not_before + (self.not_after - self.not_before) * part


def share_of(node: str) -> float:
    """Return a number from 0 to 1: always the same for ``node``, another for each."""
    return zlib.crc32(node.encode()) / _HASH_RANGE


def validity(der: bytes) -> Validity:
    """Return the dates of a certificate.

    Source: RFC 5280, section 4.1: version, serial number, algorithm and issuer stand before them.

    Raises:
        CertificateError: it is none.
    """
    try:
        at = _enter(der, _enter(der, 0))
        if der[at] == _VERSION:
            at = _end(der, at)
        for _ in ("serial number", "algorithm", "issuer"):
            at = _end(der, at)
        at = _enter(der, at)
        return Validity(_time(der, at), _time(der, _end(der, at)))
    except (IndexError, ValueError) as error:
        raise CertificateError("not a certificate") from error


def ders_of(pem: str) -> list[bytes]:
    """Return the certificates in ``pem``, in their order; what stands between them is passed over.

    Raises:
        CertificateError: one of them is not base64.
    """
    try:
        return [
            base64.b64decode("".join(text.split()), validate=True) for text in _PEM.findall(pem)
        ]
    except binascii.Error as error:
        raise CertificateError("not a certificate in PEM") from error


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate in hex."""
    return hashlib.sha256(der).hexdigest()


def fault_of_cloud(der: bytes, known: datetime | None, wall: datetime) -> str:
    """Return what is wrong with the dates of the cloud's certificate; "" for nothing.

    That it holds from a later date on is no fault: ``known`` may be long ago.

    Args:
        der: the certificate.
        known: the last time known, with the time since; None where none is: then nothing is said.
        wall: what this machine's clock says, for the words only.

    Raises:
        CertificateError: it is no certificate.
    """
    until = validity(der).not_after
    if known is None or known <= until:
        return ""
    words = (
        f"the cloud's certificate has expired on {until:%Y-%m-%d}: by the time that the cloud"
        f" itself told last, it is {known:%Y-%m-%d} or later. cloudcore renews it by itself while"
        " it reaches its API server"
    )
    # A clock that is ahead of what was told last may be right.
    off = how_far_off(wall, known) if wall < known else ""
    return f"{words}; besides, {off}, which has no part in this" if off else words


def how_far_off(wall: datetime, right: datetime) -> str:
    """Return in words how far this machine's clock is from the ``right`` time; "" if not far."""
    difference = wall - right
    if abs(difference) < FAR_OFF:
        return ""
    hours = abs(difference) / timedelta(hours=1)
    size, unit = next((size, unit) for size, unit in _UNITS if hours >= size)
    side = "ahead" if difference > timedelta() else "behind"
    return f"this machine's clock is {hours / size:.1f} {unit} {side}"


def _span(data: bytes, at: int) -> tuple[int, int]:
    """Return where the content of the element at ``at`` begins and ends."""
    length, start = data[at + 1], at + 2
    if length & _LONG:
        size = length & ~_LONG
        if not 0 < size <= _MAX_LENGTH_BYTES:
            raise ValueError("a length that no certificate has")
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    if start + length > len(data):
        raise ValueError("it ends too early")
    return start, start + length


def _enter(data: bytes, at: int) -> int:
    if data[at] != _SEQUENCE:
        raise ValueError("a sequence was expected")
    return _span(data, at)[0]


def _end(data: bytes, at: int) -> int:
    return _span(data, at)[1]


def _time(data: bytes, at: int) -> datetime:
    start, end = _span(data, at)
    form = _TIMES.get(data[at])
    if form is None:
        raise ValueError("a time was expected")
    return datetime.strptime(data[start:end].decode("ascii"), form).replace(tzinfo=UTC)
