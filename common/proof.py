"""The proof with which an edge renews its certificate: made by the edge, checked by the cloud.

TLS refuses a certificate that has expired, so an edge that was away for too long cannot show its
own there. It sends the old certificate as a header of the request instead, and beside it a
signature by the old key over the new request, which nobody else can make. The signature holds for
that one request: whoever repeats it gets a certificate for a key that only the edge has.

==========================  ========================================================================
``Cloudedge-Certificate``   the old certificate: base64 of its DER
``Cloudedge-Proof``         base64 of an ECDSA signature (DER) with SHA-256, by the old key, over
                            ``cloudedge renewal``, a line feed, and the DER of the new request
==========================  ========================================================================
"""

import base64
import binascii
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from common import pki
from common.errors import CertificateError

CERTIFICATE_HEADER: Final = "Cloudedge-Certificate"
PROOF_HEADER: Final = "Cloudedge-Proof"

_CONTEXT: Final = b"cloudedge renewal\n"
"""Nothing else that the key signs begins like this: not TLS, not a certificate request."""


class Headers(Protocol):
    """The headers of a request, however a library keeps them."""

    def get(self, name: str, /) -> str | None:
        """Return the value of the header ``name``, however that is spelled; None without it."""


class Presented(Struct, frozen=True):
    """What a request for renewal shows; nothing of it has been checked yet."""

    certificate: x509.Certificate
    proof: bytes


def sign_renewal(key: pki.Key, csr: bytes) -> bytes:
    """Return the proof that the owner of ``key`` asks for the certificate that ``csr`` requests.

    Args:
        key: of the old certificate.
        csr: the new request, DER.
    """
    return key.sign(_CONTEXT + csr, ec.ECDSA(hashes.SHA256()))


def check_renewal(certificate: x509.Certificate, csr: bytes, proof: bytes) -> None:
    """Return if the owner of ``certificate`` has asked for what ``csr`` requests.

    Whether the certificate is one of ours, still counts and is of the right node is not judged.

    Raises:
        CertificateError: ``proof`` is not that of the certificate's key for this request.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("the old certificate's key cannot be used") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateError("the old certificate's key is not an EC key")
    try:
        key.verify(proof, _CONTEXT + csr, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise CertificateError(
            "the proof is not a signature of the old certificate's key over this request"
        ) from error


def renewal_headers(key: pki.Key, certificate: x509.Certificate, csr: bytes) -> dict[str, str]:
    """Return the headers that make a request for a certificate one for renewal.

    Args:
        key: of the old certificate.
        certificate: the old one.
        csr: the new request, DER: the body of the request.
    """
    der = certificate.public_bytes(serialization.Encoding.DER)
    return {
        CERTIFICATE_HEADER: base64.b64encode(der).decode(),
        PROOF_HEADER: base64.b64encode(sign_renewal(key, csr)).decode(),
    }


def read_headers(headers: Headers) -> Presented | None:
    """Return what ``headers`` present; None where the request is not for renewal.

    Raises:
        CertificateError: one of the two is missing or damaged.
    """
    certificate, proof = headers.get(CERTIFICATE_HEADER), headers.get(PROOF_HEADER)
    if certificate is None and proof is None:
        return None
    if certificate is None or proof is None:
        raise CertificateError(f"{CERTIFICATE_HEADER} and {PROOF_HEADER} belong together")
    der = _decoded(CERTIFICATE_HEADER, certificate)
    return Presented(pki.load_certificate(der), _decoded(PROOF_HEADER, proof))


def _decoded(name: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: what is no ASCII
        raise CertificateError(f"{name} is not base64") from error
