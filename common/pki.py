"""Keys and certificates as files and the wire have them.

All keys are on the curve P-256 and kept as SEC1 (``EC PRIVATE KEY``), all certificates travel as
DER, as in KubeEdge (pkg/security/certs, cloud/pkg/cloudhub/servers/httpserver), so that real edges
can enrol and a KubeEdge installation's authority can be taken over.

``common.subjects`` tells whose they are, and ``common.issuing`` makes certificates. Of them,
``common.tls`` makes TLS contexts, ``common.files.write_private`` files.
"""

import hashlib
import ipaddress
import warnings
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.errors import CertificateError

Key = ec.EllipticCurvePrivateKey

UNSOUND: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
)
"""What the library raises over bytes that somebody has made up: some at once, some when the part in
question is asked for."""


def new_key() -> Key:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_der(key: Key) -> bytes:
    """Return ``key`` as SEC1 DER, unencrypted."""
    return _key_bytes(key, serialization.Encoding.DER)


def key_to_pem(key: Key) -> bytes:
    """Return ``key`` as ``EC PRIVATE KEY``, unencrypted."""
    return _key_bytes(key, serialization.Encoding.PEM)


def key_from_der(der: bytes) -> Key:
    """Return the private key in ``der``.

    Raises:
        CertificateError: it is no unencrypted EC key.
    """
    try:
        key = serialization.load_der_private_key(der, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"not a private key: {error}") from error
    return _require_ec(key)


def key_from_pem(pem: bytes) -> Key:
    """Return the private key in ``pem``.

    Raises:
        CertificateError: it is no unencrypted EC key.
    """
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"not a private key: {error}") from error
    return _require_ec(key)


def load_certificate(data: bytes) -> x509.Certificate:
    """Return the certificate in ``data``, DER or PEM.

    Raises:
        CertificateError: it is none.
    """
    is_pem = data.lstrip().startswith(b"-----BEGIN")
    load = x509.load_pem_x509_certificate if is_pem else x509.load_der_x509_certificate
    try:
        with warnings.catch_warnings():
            # A warning for now, of what later versions of the library take for damage.
            warnings.filterwarnings("error", message="Parsed a serial number")
            return load(data)
    except (*UNSOUND, UserWarning) as error:
        raise CertificateError(f"not a certificate: {error}") from error


def cert_to_pem(der: bytes) -> str:
    """Return the certificate ``der`` as PEM."""
    return load_certificate(der).public_bytes(serialization.Encoding.PEM).decode()


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of a certificate in hex: the first part of a join token."""
    return hashlib.sha256(der).hexdigest()


def key_hash(key: ec.EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key (SubjectPublicKeyInfo) in hex: who asks again is known."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, spki)).hexdigest()


def has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` was signed by ``authority``'s key; says nothing of its dates."""
    try:
        certificate.verify_directly_issued_by(authority)
    except UNSOUND:
        return False
    return True


def server_hosts(certificate: x509.Certificate) -> frozenset[str]:
    """Return the hosts that ``certificate`` was issued for, in their canonical spelling."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(str(name.value) for name in names)


def canonical_hosts(hosts: Iterable[str]) -> frozenset[str]:
    """Return ``hosts`` in the spelling that ``server_hosts`` of a certificate for them has.

    Raises:
        CertificateError: a host is neither an address nor an ASCII name.
    """
    return frozenset(str(general_name(host).value) for host in hosts)


def general_name(host: str) -> x509.GeneralName:
    """Return ``host`` as the alternative names of a certificate state it.

    Raises:
        CertificateError: it is neither an address nor an ASCII name.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(f"neither an address nor a host name: {host!r}") from error


def _require_ec(key: object) -> Key:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("not an EC private key")
    return key


def _key_bytes(key: Key, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(
        encoding, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
