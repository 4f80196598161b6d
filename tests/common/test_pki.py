"""Keys and certificates. Real: cryptography."""

from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256

from common import issuing, pki, subjects
from common.errors import CertificateError
from common.names import NodeID
from tests.common.forging import ANOTHER_VERSION, with_bytes

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1.site.example")


@pytest.fixture(scope="module")
def authority() -> issuing.Authority:
    return issuing.new_authority(NOW)


def test_keys_are_written_as_sec1(authority: issuing.Authority) -> None:
    pem = pki.key_to_pem(authority.key)
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert pki.key_from_pem(pem).private_numbers() == authority.key.private_numbers()


def test_keys_of_another_kind_are_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(CertificateError, match="EC"):
        pki.key_from_der(der)


@pytest.mark.parametrize("data", [b"", b"\x30\x03", b"-----BEGIN CERTIFICATE-----\n"])
def test_damaged_bytes_are_named_as_such(data: bytes) -> None:
    for load in (pki.load_certificate, pki.key_from_der, pki.key_from_pem):
        with pytest.raises(CertificateError):
            load(data)


def test_what_was_made_up_to_look_like_a_certificate_is_named_as_such(
    authority: issuing.Authority,
) -> None:
    with pytest.raises(CertificateError, match="version"):
        pki.load_certificate(with_bytes(authority.der, *ANOTHER_VERSION))
    serial = "02020400", "02028400"  # 1024, and less than nothing
    with pytest.raises(CertificateError, match="serial number"):
        pki.load_certificate(with_bytes(authority.der, *serial))


def test_a_public_key_is_known_by_its_hash() -> None:
    key, other = pki.new_key(), pki.new_key()
    again = pki.key_from_der(pki.key_to_der(key))
    assert pki.key_hash(again.public_key()) == pki.key_hash(key.public_key())
    assert pki.key_hash(other.public_key()) != pki.key_hash(key.public_key())
    assert len(pki.key_hash(key.public_key())) == 64


def test_a_certificate_is_the_same_as_der_and_as_pem(authority: issuing.Authority) -> None:
    pem = pki.cert_to_pem(authority.der)
    assert pem == authority.pem
    assert pki.load_certificate(pem.encode()) == authority.certificate
    assert pki.fingerprint(authority.der) == authority.certificate.fingerprint(SHA256()).hex()


def test_hosts_have_one_spelling_in_a_certificate_and_out_of_it(
    authority: issuing.Authority,
) -> None:
    hosts = ["2001:0DB8::0001", "127.0.0.1", "cloud.example.org"]
    certificate = issuing.issue_server(authority, pki.new_key(), hosts, NOW)
    assert pki.canonical_hosts(hosts) == pki.server_hosts(certificate)
    with pytest.raises(CertificateError):
        pki.canonical_hosts(["wörld"])
    assert pki.server_hosts(authority.certificate) == frozenset()


def test_what_an_authority_of_the_same_name_has_signed_is_not_its_own(
    authority: issuing.Authority,
) -> None:
    other = issuing.new_authority(NOW)
    for signer in (authority, other):
        issued = issuing.issue_node(signer, subjects.new_csr(pki.new_key(), NODE), NODE, NOW)
        issued_here = pki.has_signed(authority.certificate, pki.load_certificate(issued.der))
        assert issued_here is (signer is authority)
