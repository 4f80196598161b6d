"""Keys and certificates of the hub: the authority, cloudcore's certificate, those of the edges.

All keys are on the curve P-256 and kept as SEC1 (``EC PRIVATE KEY``), all certificates travel as
DER, as in KubeEdge (pkg/security/certs, cloud/pkg/cloudhub/servers/httpserver), so that real edges
can enrol and a KubeEdge installation's authority can be taken over. Time is always an argument.

``common.tls`` makes TLS contexts of them, ``common.files.write_private`` files.
"""

import hashlib
import ipaddress
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import CertificateError
from common.names import NODE_USER_PREFIX, NODES_GROUP, NodeID, node_user

Key = ec.EllipticCurvePrivateKey

CA_LIFETIME: Final = timedelta(days=100 * 364)
SERVER_LIFETIME: Final = timedelta(days=365)
NODE_LIFETIME: Final = timedelta(days=365)
BACKDATED: Final = timedelta(hours=1)
"""Certificates hold from before they were made: no two clocks agree."""

_UNSOUND: Final = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
)
"""What the library raises over bytes that somebody has made up: some at once, some when the part in
question is asked for."""

_CA_NAME: Final = "KubeEdge"
_CA_SERIAL: Final = 1024  # KubeEdge's


@dataclass(frozen=True, slots=True)
class Authority:
    """The hub's certificate authority."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        """The certificate as ``/ca.crt`` serves it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate as files and TLS contexts want it."""
        return cert_to_pem(self.der)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just signed."""

    der: bytes
    serial: int
    not_after: datetime
    key_hash: str = ""
    """See ``key_hash``."""


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
    except (*_UNSOUND, UserWarning) as error:
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


def new_authority(now: datetime) -> Authority:
    """Return a new self-signed authority of KubeEdge's shape."""
    return _self_signed(new_key(), _name((NameOID.COMMON_NAME, _CA_NAME)), _CA_SERIAL, now)


def next_authority(now: datetime) -> Authority:
    """Return a new self-signed authority that is to follow another one.

    Its name has a part of its own: whoever looks for the issuer of a certificate by name finds one
    of the two, also where the certificate does not say which key has signed it.
    """
    key = new_key()
    qualifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    name = _name((NameOID.COMMON_NAME, _CA_NAME), (NameOID.DN_QUALIFIER, qualifier))
    return _self_signed(key, name, x509.random_serial_number(), now)


def cross_sign(old: Authority, new: Authority, now: datetime) -> x509.Certificate:
    """Return a certificate by ``old`` of name and key of ``new``.

    A server that shows it beside its own certificate by ``new`` is believed by those who trust
    ``old`` only. It is good for as long as both are.

    Raises:
        CertificateError: ``old`` has expired: nobody would believe it.
    """
    certificate = new.certificate
    lifetime = min(old.certificate.not_valid_after_utc, certificate.not_valid_after_utc) - now
    if lifetime <= timedelta():
        raise CertificateError(
            f"the authority has expired on {old.certificate.not_valid_after_utc:%Y-%m-%d}, so that"
            " it can introduce no other one"
        )
    return (
        _authority_builder(
            new.key.public_key(),
            certificate.subject,
            old.certificate.subject,
            now,
            lifetime,
        )
        .serial_number(x509.random_serial_number())
        .add_extension(_authority_key_identifier(old), critical=False)
        .sign(old.key, hashes.SHA256())
    )


def has_signed(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` was signed by ``authority``'s key; says nothing of its dates."""
    try:
        certificate.verify_directly_issued_by(authority)
    except _UNSOUND:
        return False
    return True


def load_authority(cert_der: bytes, key_der: bytes) -> Authority:
    """Return the authority kept as ``cert_der`` and ``key_der``.

    Raises:
        CertificateError: one of them is damaged, or they do not belong together.
    """
    authority = Authority(load_certificate(cert_der), key_from_der(key_der))
    if authority.certificate.public_key() != authority.key.public_key():
        raise CertificateError("the authority's certificate is not that of its key")
    return authority


def issue_server(
    authority: Authority, key: Key, hosts: Iterable[str], now: datetime
) -> x509.Certificate:
    """Return a certificate for a server that is reached as any of ``hosts`` (names or addresses).

    Raises:
        CertificateError: a host is neither an address nor an ASCII name.
    """
    name = _name((NameOID.ORGANIZATION_NAME, _CA_NAME), (NameOID.COMMON_NAME, _CA_NAME))
    alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    return _sign(
        authority,
        _builder(
            name,
            key.public_key(),
            issuer=authority.certificate.subject,
            now=now,
            lifetime=SERVER_LIFETIME,
        ).add_extension(alternatives, critical=False),
        ExtendedKeyUsageOID.SERVER_AUTH,
    )


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
    return frozenset(str(_general_name(host).value) for host in hosts)


def new_csr(key: Key, node: NodeID) -> bytes:
    """Return the DER of a request for the client certificate of ``node``."""
    request = x509.CertificateSigningRequestBuilder(_node_name(node))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def issue_node(
    authority: Authority,
    csr_der: bytes,
    node: NodeID,
    now: datetime,
    lifetime: timedelta = NODE_LIFETIME,
) -> Issued:
    """Sign the request of ``node``.

    The certificate says ``O=system:nodes, CN=system:node:<node>`` and clientAuth, whatever else the
    request asks for: alternative names and serverAuth would let one edge pose as the cloud. It says
    so also for the request of an edge of KubeEdge before 1.16, which names no node.

    Raises:
        CertificateError: it is no request, its signature or key is not sound, or its subject is not
            that of ``node``. The text tells what was expected.
    """
    try:
        request = x509.load_der_x509_csr(csr_der)
        with _names_of_any_length():
            requester = _node_of_name(request.subject)
            is_nameless = _is_nameless(*_parts_of(request.subject))
        key, is_signed = request.public_key(), request.is_signature_valid
    except _UNSOUND as error:
        raise CertificateError(f"not a PKCS#10 request in DER: {error}") from error
    if not is_signed or not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateError("the request is not signed by its own EC key")
    if requester != node and not is_nameless:
        raise CertificateError(
            f"the request's subject must be O={NODES_GROUP}, CN={node_user(node)}"
        )
    certificate = _sign(
        authority,
        _builder(
            _node_name(node),
            key,
            issuer=authority.certificate.subject,
            now=now,
            lifetime=lifetime,
        ),
        ExtendedKeyUsageOID.CLIENT_AUTH,
    )
    return Issued(
        certificate.public_bytes(serialization.Encoding.DER),
        certificate.serial_number,
        certificate.not_valid_after_utc,
        key_hash(key),
    )


def node_of_certificate(peercert: Mapping[str, Any] | bytes) -> NodeID | None:
    """Return the node that a client certificate belongs to; None where it is not a node's.

    Args:
        peercert: DER, or the dict of ``ssl.SSLSocket.getpeercert``. That the authority has signed
            it must have been checked already, which TLS does.
    """
    if isinstance(peercert, bytes):
        try:
            with _names_of_any_length():
                return _node_of_name(load_certificate(peercert).subject)
        except (*_UNSOUND, CertificateError):
            return None
    attributes = [pair for part in peercert.get("subject", ()) for pair in part]
    return _node_of_attributes(
        [value for kind, value in attributes if kind == "organizationName"],
        [value for kind, value in attributes if kind == "commonName"],
    )


def is_nameless(peercert: Mapping[str, Any]) -> bool:
    """Whether a client certificate is one that KubeEdge before 1.16 gave to every edge alike.

    Args:
        peercert: the dict of ``ssl.SSLSocket.getpeercert``.
    """
    attributes = [pair for part in peercert.get("subject", ()) for pair in part]
    return _is_nameless(
        [value for kind, value in attributes if kind == "organizationName"],
        [value for kind, value in attributes if kind == "commonName"],
    )


def _node_of_name(name: x509.Name) -> NodeID | None:
    return _node_of_attributes(*_parts_of(name))


def _parts_of(name: x509.Name) -> tuple[list[str], list[str]]:
    """Return the values of O and CN."""
    return (
        [str(a.value) for a in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)],
        [str(a.value) for a in name.get_attributes_for_oid(NameOID.COMMON_NAME)],
    )


def _is_nameless(organizations: list[str], common_names: list[str]) -> bool:
    # KubeEdge itself has spelled it in two ways.
    folded = [one.casefold() for one in organizations]
    return (folded, common_names) == (["kubeedge"], ["kubeedge.io"])


def _node_of_attributes(organizations: list[str], common_names: list[str]) -> NodeID | None:
    # Country, locality and province are passed over: KubeEdge's edges state some. A second O or CN
    # is not: the two ends could read another one each.
    if organizations != [NODES_GROUP] or len(common_names) != 1:
        return None
    user = common_names[0]
    node = user.removeprefix(NODE_USER_PREFIX)
    return NodeID(node) if node and node != user else None


def _require_ec(key: object) -> Key:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError("not an EC private key")
    return key


def _key_bytes(key: Key, encoding: serialization.Encoding) -> bytes:
    return key.private_bytes(
        encoding, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    with _names_of_any_length():
        return x509.Name(
            [x509.NameAttribute(oid, text, _validate=False) for oid, text in attributes]
        )


@contextmanager
def _names_of_any_length() -> Iterator[None]:
    """Say nothing of long names: X.520 ends a CN at 64 characters, a node's name may have 253."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Attribute's length", category=UserWarning)
        yield


def _node_name(node: NodeID) -> x509.Name:
    return _name((NameOID.ORGANIZATION_NAME, NODES_GROUP), (NameOID.COMMON_NAME, node_user(node)))


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise CertificateError(f"neither an address nor a host name: {host!r}") from error


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Name,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _self_signed(key: Key, name: x509.Name, serial: int, now: datetime) -> Authority:
    certificate = (
        _authority_builder(key.public_key(), name, name, now, CA_LIFETIME)
        .serial_number(serial)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _authority_builder(
    key: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: x509.Name,
    now: datetime,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    """Return what stands in the certificate of an authority, whoever signs it."""
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        _builder(subject, key, issuer=issuer, now=now, lifetime=lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(is_ca=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )


def _sign(
    authority: Authority, builder: x509.CertificateBuilder, usage: x509.ObjectIdentifier
) -> x509.Certificate:
    """Complete and sign the certificate of one that is no authority."""
    return (
        builder.serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        # Python 3.13 verifies strictly, and then wants to know which of its keys has signed.
        .add_extension(_authority_key_identifier(authority), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _authority_key_identifier(authority: Authority) -> x509.AuthorityKeyIdentifier:
    """Return the identifier as the authority's certificate states it: not everyone hashes alike."""
    try:
        stated = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(stated.value)


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=True,
        key_cert_sign=is_ca,
        crl_sign=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
