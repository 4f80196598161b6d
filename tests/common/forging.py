"""Certificates and requests of which somebody has changed some bytes."""

from typing import Final

ANOTHER_VERSION: Final = "a003020102", "a00302010c"
"""For ``with_bytes``: makes a certificate one of X.509's thirteenth version."""


def with_bytes(der: bytes, old: str, new: str) -> bytes:
    """Return ``der`` with the first of some bytes replaced by as many others, in hex."""
    assert bytes.fromhex(old) in der
    return der.replace(bytes.fromhex(old), bytes.fromhex(new), 1)
