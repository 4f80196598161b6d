"""The authorities that are trusted: one, or two while one follows the other. Pure.

The newer one signs. What the older one has signed stays good until the rotation is finished, and
servers show the newer one's certificate by the older one as well, so that an edge that has heard of
nothing is served too.
"""

from cryptography import x509
from msgspec import Struct

from common import issuing, pki
from common.errors import CertificateError


class Authorities(Struct, frozen=True):
    """What the hub believes, and by what it is believed."""

    current: issuing.Authority
    """Signs certificates and tokens."""

    previous: issuing.Authority | None = None
    """While it is replaced: the one before. What it has signed is good."""

    cross: bytes = b""
    """While it is replaced: name and key of ``current``, signed by ``previous``; DER."""

    @property
    def trusted(self) -> tuple[issuing.Authority, ...]:
        """All, the newest first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)

    @property
    def fingerprint(self) -> str:
        """The newest one's name in headers and tokens: SHA-256 of its certificate, hex."""
        return pki.fingerprint(self.current.der)

    @property
    def pem(self) -> str:
        """The certificates of all that are trusted, the newest first."""
        return "".join(authority.pem for authority in self.trusted)

    @property
    def chain_pem(self) -> str:
        """What a server shows behind its own certificate; empty where there is no need."""
        return pki.cert_to_pem(self.cross) if self.cross else ""

    def find(self, fingerprint: str) -> issuing.Authority | None:
        """Return the one whose certificate has this SHA-256 (hex, in small or large letters)."""
        wanted = fingerprint.lower()
        return next((a for a in self.trusted if pki.fingerprint(a.der) == wanted), None)

    def signer_of(self, certificate: x509.Certificate) -> issuing.Authority | None:
        """Return the one that has signed ``certificate``, whose dates are not looked at."""
        return next((a for a in self.trusted if pki.has_signed(a.certificate, certificate)), None)

    def name_signer_of(self, der: bytes) -> str | None:
        """Return the fingerprint of the one that has signed a certificate; None for none of these.

        What TLS accepts may be signed by somebody in between, who has no part in this, or by one
        that was trusted when the handshake began.
        """
        try:
            signer = self.signer_of(pki.load_certificate(der))
        except CertificateError:
            return None
        return None if signer is None else pki.fingerprint(signer.der)
