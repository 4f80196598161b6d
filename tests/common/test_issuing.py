"""The authority and what it signs. Real: cryptography; ``test_tls`` has OpenSSL judge it."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common import issuing, pki, subjects
from common.errors import CertificateError
from common.names import NodeID

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1.site.example")


@pytest.fixture(scope="module")
def authority() -> issuing.Authority:
    return issuing.new_authority(NOW)


def csr(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])
    request = x509.CertificateSigningRequestBuilder(name).sign(pki.new_key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def test_the_authority_survives_being_kept_as_der(authority: issuing.Authority) -> None:
    again = issuing.load_authority(authority.der, pki.key_to_der(authority.key))
    assert again.der == authority.der
    assert again.key.private_numbers() == authority.key.private_numbers()


def test_the_authority_has_kubeedges_shape(authority: issuing.Authority) -> None:
    certificate = authority.certificate
    assert certificate.subject.rfc4514_string() == "CN=KubeEdge"
    assert certificate.serial_number == 1024
    assert certificate.not_valid_after_utc - NOW == timedelta(days=36400)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_certificate_of_another_key_is_no_authority(authority: issuing.Authority) -> None:
    with pytest.raises(CertificateError, match="not that of its key"):
        issuing.load_authority(authority.der, pki.key_to_der(pki.new_key()))


def test_an_authority_that_follows_another_one_is_told_from_it_by_its_name(
    authority: issuing.Authority,
) -> None:
    follower, another = issuing.next_authority(NOW), issuing.next_authority(NOW)
    names = {one.certificate.subject for one in (authority, follower, another)}
    assert len(names) == 3
    assert all("CN=KubeEdge" in name.rfc4514_string() for name in names)
    assert issuing.load_authority(follower.der, pki.key_to_der(follower.key)).der == follower.der
    assert pki.has_signed(follower.certificate, follower.certificate)


def test_the_older_authority_vouches_for_the_newer_ones_name_and_key(
    authority: issuing.Authority,
) -> None:
    late = NOW + timedelta(days=400)
    follower = issuing.next_authority(late)
    cross = issuing.cross_sign(authority, follower, late)
    assert cross.subject == follower.certificate.subject
    assert cross.public_key() == follower.certificate.public_key()
    assert pki.has_signed(authority.certificate, cross)
    assert not pki.has_signed(follower.certificate, cross)
    assert cross.not_valid_after_utc == authority.certificate.not_valid_after_utc
    identifier = x509.SubjectKeyIdentifier
    stated = [
        c.extensions.get_extension_for_class(identifier) for c in (cross, follower.certificate)
    ]
    assert stated[0] == stated[1]
    issuer = cross.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    old = authority.certificate.extensions.get_extension_for_class(identifier).value
    assert issuer.key_identifier == old.digest


def test_an_authority_that_has_expired_introduces_no_other_one(
    authority: issuing.Authority,
) -> None:
    end = authority.certificate.not_valid_after_utc
    with pytest.raises(CertificateError, match="has expired on"):
        issuing.cross_sign(authority, issuing.next_authority(end), end)


def test_a_node_gets_a_certificate_for_its_own_name_and_nothing_else(
    authority: issuing.Authority,
) -> None:
    request = csr(
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, "system:nodes"),
        (NameOID.LOCALITY_NAME, "Hangzhou"),
        (NameOID.COMMON_NAME, f"system:node:{NODE}"),
    )
    issued = issuing.issue_node(authority, request, NODE, NOW)
    certificate = pki.load_certificate(issued.der)
    assert certificate.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
    assert certificate.serial_number == issued.serial
    assert certificate.not_valid_after_utc == issued.not_after == NOW + issuing.NODE_LIFETIME
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert subjects.node_of_certificate(issued.der) == NODE
    assert pki.server_hosts(certificate) == frozenset()
    certificate.verify_directly_issued_by(authority.certificate)


def test_a_key_is_known_by_its_hash_and_a_certificate_tells_whose_it_is(
    authority: issuing.Authority,
) -> None:
    key = pki.new_key()
    issued = issuing.issue_node(authority, subjects.new_csr(key, NODE), NODE, NOW)
    again = issuing.issue_node(authority, subjects.new_csr(key, NODE), NODE, NOW)
    assert issued.key_hash == again.key_hash == pki.key_hash(key.public_key())
    assert issued.key_hash != pki.key_hash(pki.new_key().public_key())
    assert len(issued.key_hash) == 64


def test_the_signers_own_identifier_stands_in_what_it_signs() -> None:
    # Go 1.25 hashes keys otherwise than cryptography does; OpenSSL compares the two extensions.
    key, name = pki.new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "KubeEdge")])
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1024, NOW, NOW + timedelta(days=1)
    )
    named = builder.add_extension(x509.SubjectKeyIdentifier(b"its own"), critical=False)
    for ca, expected in ((named, b"its own"), (builder, None)):
        authority = issuing.Authority(ca.sign(key, hashes.SHA256()), key)
        issued = issuing.issue_node(authority, subjects.new_csr(pki.new_key(), NODE), NODE, NOW)
        extensions = pki.load_certificate(issued.der).extensions
        stated = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        assert stated.key_identifier == (expected or digest)


@pytest.mark.parametrize(
    "attributes",
    [
        [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, "system:node:other")],
        [
            (NameOID.ORGANIZATION_NAME, "system:masters"),
            (NameOID.COMMON_NAME, f"system:node:{NODE}"),
        ],
        [
            (NameOID.ORGANIZATION_NAME, "system:nodes"),
            (NameOID.ORGANIZATION_NAME, "system:masters"),
            (NameOID.COMMON_NAME, f"system:node:{NODE}"),
        ],
        [
            (NameOID.ORGANIZATION_NAME, "system:nodes"),
            (NameOID.COMMON_NAME, f"system:node:{NODE}"),
            (NameOID.COMMON_NAME, "system:node:other"),
        ],
        [(NameOID.COMMON_NAME, f"system:node:{NODE}")],
        [(NameOID.ORGANIZATION_NAME, "system:nodes"), (NameOID.COMMON_NAME, str(NODE))],
    ],
)
def test_a_request_with_another_subject_is_not_signed(
    authority: issuing.Authority, attributes: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    with pytest.raises(CertificateError, match=f"CN=system:node:{NODE}"):
        issuing.issue_node(authority, csr(*attributes), NODE, NOW)


@pytest.mark.parametrize("organization", ["KubeEdge", "kubeEdge"])
def test_a_request_of_kubeedge_before_1_16_gets_a_certificate_that_names_the_node(
    authority: issuing.Authority, organization: str
) -> None:
    request = csr((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, "kubeedge.io"))
    assert (
        subjects.node_of_certificate(issuing.issue_node(authority, request, NODE, NOW).der) == NODE
    )


def test_what_is_no_request_is_not_signed(authority: issuing.Authority) -> None:
    good = subjects.new_csr(pki.new_key(), NODE)
    for bad in (b"", b"nonsense", good[:-1], authority.der):
        with pytest.raises(CertificateError):
            issuing.issue_node(authority, bad, NODE, NOW)


def test_a_request_whose_signature_is_another_ones_is_not_signed(
    authority: issuing.Authority,
) -> None:
    forged = bytearray(subjects.new_csr(pki.new_key(), NODE))
    forged[-3] ^= 1
    with pytest.raises(CertificateError):
        issuing.issue_node(authority, bytes(forged), NODE, NOW)


def test_the_servers_certificate_names_addresses_and_hosts(authority: issuing.Authority) -> None:
    certificate = issuing.issue_server(
        authority, pki.new_key(), ["192.0.2.7", "::1", "cloud.example"], NOW
    )
    assert pki.server_hosts(certificate) == {"192.0.2.7", "::1", "cloud.example"}
    certificate.verify_directly_issued_by(authority.certificate)
    with pytest.raises(CertificateError, match="host name"):
        issuing.issue_server(authority, pki.new_key(), ["clöud"], NOW)
