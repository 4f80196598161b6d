"""TLS contexts. Real: OpenSSL on both sides, joined in memory; no network."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from common import issuing, pki, subjects, tls
from common.errors import CertificateError
from common.files import write_private
from common.names import NodeID

NOW = datetime.now(UTC)
NODE = NodeID("edge-1")


@pytest.fixture
def authority() -> issuing.Authority:
    return issuing.new_authority(NOW)


@pytest.fixture
def server(authority: issuing.Authority, tmp_path: Path) -> ssl.SSLContext:
    key = pki.new_key()
    certificate = issuing.issue_server(authority, key, ["cloud.example"], NOW)
    files = (tmp_path / "server.crt", tmp_path / "server.key")
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_private(files[1], pki.key_to_pem(key))
    return tls.server_context(*files, client_ca_pem=authority.pem)


@pytest.fixture
def client(tmp_path: Path, authority: issuing.Authority) -> Callable[..., ssl.SSLContext]:
    def make(signer: issuing.Authority, now: datetime = NOW) -> ssl.SSLContext:
        key = pki.new_key()
        issued = issuing.issue_node(signer, subjects.new_csr(key, NODE), NODE, now)
        files = (tmp_path / "node.crt", tmp_path / "node.key")
        files[0].write_text(pki.cert_to_pem(issued.der))
        write_private(files[1], pki.key_to_pem(key))
        return tls.client_context(authority.pem, *files)

    return make


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, host: str = "cloud.example"
) -> ssl.SSLObject:
    """Run a handshake to its end and return the server's side."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return sides[1]


def test_a_node_is_known_by_its_certificate(
    server: ssl.SSLContext, client: Callable[..., ssl.SSLContext], authority: issuing.Authority
) -> None:
    side = shake_hands(server, client(authority))
    assert side.version() == "TLSv1.3"
    assert subjects.node_of_certificate(side.getpeercert() or {}) == NODE


def test_tls_1_2_takes_kubeedges_ciphers_only(
    server: ssl.SSLContext, client: Callable[..., ssl.SSLContext], authority: issuing.Authority
) -> None:
    old = client(authority)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    assert shake_hands(server, old).version() == "TLSv1.2"
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
    with pytest.raises(ssl.SSLError):
        shake_hands(server, old)


def test_a_client_without_a_certificate_or_with_anothers_is_not_served(
    server: ssl.SSLContext, client: Callable[..., ssl.SSLContext], authority: issuing.Authority
) -> None:
    for stranger in (tls.client_context(authority.pem), client(issuing.new_authority(NOW))):
        with pytest.raises(ssl.SSLError):
            shake_hands(server, stranger)
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client(authority, NOW - issuing.NODE_LIFETIME - timedelta(days=1)))


def test_a_server_of_another_name_or_authority_is_not_believed(
    server: ssl.SSLContext, client: Callable[..., ssl.SSLContext], authority: issuing.Authority
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client(authority), host="elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, tls.client_context(issuing.new_authority(NOW).pem))
    server.verify_mode = ssl.CERT_OPTIONAL
    assert shake_hands(server, tls.unverified_context(), host="elsewhere.example").version()


def test_a_client_leaves_the_dates_of_the_server_to_who_knows_the_time(
    server: ssl.SSLContext, authority: issuing.Authority, tmp_path: Path
) -> None:
    for years in (-3, 3):
        key, made = pki.new_key(), NOW + years * timedelta(days=365)
        certificate = issuing.issue_server(authority, key, ["cloud.example"], made)
        both = tmp_path / "both.pem"
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        write_private(both, pem + pki.key_to_pem(key))
        server.load_cert_chain(both)
        server.verify_mode = ssl.CERT_OPTIONAL
        assert shake_hands(server, tls.client_context(authority.pem)).version()


def test_a_file_that_cannot_be_used_is_named(authority: issuing.Authority, tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"missing\.crt"):
        tls.client_context(authority.pem, tmp_path / "missing.crt", tmp_path / "missing.key")
    with pytest.raises(CertificateError):
        tls.client_context("no certificate")
