"""The hub's authority, and what it signs: cloudcore's certificate, and those of the edges.

Only the cloud makes certificates; an edge has no need of this module. Time is always an argument.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from common.errors import CertificateError
from common.names import NODES_GROUP, NodeID, node_user
from common.pki import (
    Key,
    cert_to_pem,
    general_name,
    key_from_der,
    key_hash,
    load_certificate,
    new_key,
)
from common.subjects import distinguished_name, node_name, read_request

CA_LIFETIME: Final = timedelta(days=100 * 364)
SERVER_LIFETIME: Final = timedelta(days=365)
NODE_LIFETIME: Final = timedelta(days=365)
BACKDATED: Final = timedelta(hours=1)
"""Certificates hold from before they were made: no two clocks agree."""

_CA_NAME: Final = "KubeEdge"
_CA_SERIAL: Final = 1024  # KubeEdge's


class Authority(Struct, frozen=True):
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


class Issued(Struct, frozen=True):
    """A certificate that was just signed."""

    der: bytes
    serial: int
    not_after: datetime
    key_hash: str = ""
    """See ``common.pki.key_hash``."""


def new_authority(now: datetime) -> Authority:
    """Return a new self-signed authority of KubeEdge's shape."""
    return _self_signed(
        new_key(), distinguished_name((NameOID.COMMON_NAME, _CA_NAME)), _CA_SERIAL, now
    )


def next_authority(now: datetime) -> Authority:
    """Return a new self-signed authority that is to follow another one.

    Its name has a part of its own: whoever looks for the issuer of a certificate by name finds one
    of the two, also where the certificate does not say which key has signed it.
    """
    key = new_key()
    qualifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()
    name = distinguished_name((NameOID.COMMON_NAME, _CA_NAME), (NameOID.DN_QUALIFIER, qualifier))
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
    name = distinguished_name(
        (NameOID.ORGANIZATION_NAME, _CA_NAME), (NameOID.COMMON_NAME, _CA_NAME)
    )
    alternatives = x509.SubjectAlternativeName([general_name(host) for host in hosts])
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
    request = read_request(csr_der)
    if request.node != node and not request.is_nameless:
        raise CertificateError(
            f"the request's subject must be O={NODES_GROUP}, CN={node_user(node)}"
        )
    certificate = _sign(
        authority,
        _builder(
            node_name(node),
            request.key,
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
        key_hash(request.key),
    )


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
