"""Keys and certificates. Real: cryptography, and OpenSSL by way of ssl, which judges the result."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common import pki
from common.errors import CertificateError
from common.names import NodeID, node_user

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1.site.example")


@pytest.fixture(scope="module")
def authority() -> pki.Authority:
    return pki.new_authority(NOW)


def csr(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    name = x509.Name([x509.NameAttribute(oid, text) for oid, text in attributes])
    request = x509.CertificateSigningRequestBuilder(name).sign(pki.new_key(), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def test_the_authority_survives_being_kept_as_der(authority: pki.Authority) -> None:
    again = pki.load_authority(authority.der, pki.key_to_der(authority.key))
    assert again.der == authority.der
    assert again.key.private_numbers() == authority.key.private_numbers()


def test_the_authority_has_kubeedges_shape(authority: pki.Authority) -> None:
    certificate = authority.certificate
    assert certificate.subject.rfc4514_string() == "CN=KubeEdge"
    assert certificate.serial_number == 1024
    assert certificate.not_valid_after_utc - NOW == timedelta(days=36400)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_keys_are_written_as_sec1(authority: pki.Authority) -> None:
    pem = pki.key_to_pem(authority.key)
    assert pem.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    assert pki.key_from_pem(pem).private_numbers() == authority.key.private_numbers()


def test_a_certificate_of_another_key_is_no_authority(authority: pki.Authority) -> None:
    with pytest.raises(CertificateError, match="not that of its key"):
        pki.load_authority(authority.der, pki.key_to_der(pki.new_key()))


@pytest.mark.parametrize("data", [b"", b"\x30\x03", b"-----BEGIN CERTIFICATE-----\n"])
def test_damaged_bytes_are_named_as_such(data: bytes) -> None:
    for load in (pki.load_certificate, pki.key_from_der, pki.key_from_pem):
        with pytest.raises(CertificateError):
            load(data)


def with_bytes(der: bytes, old: str, new: str) -> bytes:
    """Return ``der`` with the first of some bytes replaced by as many others, in hex."""
    assert bytes.fromhex(old) in der
    return der.replace(bytes.fromhex(old), bytes.fromhex(new), 1)


def test_what_was_made_up_to_look_like_a_certificate_or_request_is_named_as_such(
    authority: pki.Authority,
) -> None:
    version = "a003020102", "a00302010c"
    with pytest.raises(CertificateError, match="version"):
        pki.load_certificate(with_bytes(authority.der, *version))
    serial = "02020400", "02028400"  # 1024, and less than nothing
    with pytest.raises(CertificateError, match="serial number"):
        pki.load_certificate(with_bytes(authority.der, *serial))
    request = pki.new_csr(pki.new_key(), NODE)
    name = f"{len(node_user(NODE)):02x}" + node_user(NODE).encode().hex()
    strange = {
        "version": ("02010030", "02010c30"),
        "BitString": (f"0c{name}", f"03{name[:2]}00{name[4:]}"),  # a name that is no text
    }
    for words, (old, new) in strange.items():
        with pytest.raises(CertificateError, match=words):
            pki.issue_node(authority, with_bytes(request, old, new), NODE, NOW)
    issued = pki.issue_node(authority, request, NODE, NOW).der
    assert pki.node_of_certificate(issued) == NODE
    assert pki.node_of_certificate(with_bytes(issued, *strange["BitString"])) is None
    assert pki.node_of_certificate(with_bytes(issued, *version)) is None


def test_keys_of_another_kind_are_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(CertificateError, match="EC"):
        pki.key_from_der(der)


def test_a_node_gets_a_certificate_for_its_own_name_and_nothing_else(
    authority: pki.Authority,
) -> None:
    request = csr(
        (NameOID.COUNTRY_NAME, "CN"),
        (NameOID.ORGANIZATION_NAME, "system:nodes"),
        (NameOID.LOCALITY_NAME, "Hangzhou"),
        (NameOID.COMMON_NAME, f"system:node:{NODE}"),
    )
    issued = pki.issue_node(authority, request, NODE, NOW)
    certificate = pki.load_certificate(issued.der)
    assert certificate.subject.rfc4514_string() == f"CN=system:node:{NODE},O=system:nodes"
    assert certificate.serial_number == issued.serial
    assert certificate.not_valid_after_utc == issued.not_after == NOW + pki.NODE_LIFETIME
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert pki.node_of_certificate(issued.der) == NODE
    assert pki.server_hosts(certificate) == frozenset()
    certificate.verify_directly_issued_by(authority.certificate)


def test_a_key_is_known_by_its_hash_and_a_certificate_tells_whose_it_is(
    authority: pki.Authority,
) -> None:
    key = pki.new_key()
    issued = pki.issue_node(authority, pki.new_csr(key, NODE), NODE, NOW)
    again = pki.issue_node(authority, pki.new_csr(key, NODE), NODE, NOW)
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
        authority = pki.Authority(ca.sign(key, hashes.SHA256()), key)
        issued = pki.issue_node(authority, pki.new_csr(pki.new_key(), NODE), NODE, NOW)
        extensions = pki.load_certificate(issued.der).extensions
        stated = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        digest = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
        assert stated.key_identifier == (expected or digest)


def test_a_name_longer_than_x520_allows_is_still_a_nodes_name(authority: pki.Authority) -> None:
    node = NodeID("n" * 63 + "." + "m" * 63)
    issued = pki.issue_node(authority, pki.new_csr(pki.new_key(), node), node, NOW)
    assert pki.node_of_certificate(issued.der) == node


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
    authority: pki.Authority, attributes: list[tuple[x509.ObjectIdentifier, str]]
) -> None:
    with pytest.raises(CertificateError, match=f"CN=system:node:{NODE}"):
        pki.issue_node(authority, csr(*attributes), NODE, NOW)


@pytest.mark.parametrize("organization", ["KubeEdge", "kubeEdge"])
def test_a_request_of_kubeedge_before_1_16_gets_a_certificate_that_names_the_node(
    authority: pki.Authority, organization: str
) -> None:
    request = csr((NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, "kubeedge.io"))
    assert pki.node_of_certificate(pki.issue_node(authority, request, NODE, NOW).der) == NODE
    subject = ((("organizationName", organization),), (("commonName", "kubeedge.io"),))
    assert pki.is_nameless({"subject": subject})
    assert not pki.is_nameless({})


def test_what_is_no_request_is_not_signed(authority: pki.Authority) -> None:
    good = pki.new_csr(pki.new_key(), NODE)
    for bad in (b"", b"nonsense", good[:-1], authority.der):
        with pytest.raises(CertificateError):
            pki.issue_node(authority, bad, NODE, NOW)


def test_a_request_whose_signature_is_another_ones_is_not_signed(authority: pki.Authority) -> None:
    forged = bytearray(pki.new_csr(pki.new_key(), NODE))
    forged[-3] ^= 1
    with pytest.raises(CertificateError):
        pki.issue_node(authority, bytes(forged), NODE, NOW)


def test_the_servers_certificate_names_addresses_and_hosts(authority: pki.Authority) -> None:
    certificate = pki.issue_server(
        authority, pki.new_key(), ["192.0.2.7", "::1", "cloud.example"], NOW
    )
    assert pki.server_hosts(certificate) == {"192.0.2.7", "::1", "cloud.example"}
    certificate.verify_directly_issued_by(authority.certificate)
    with pytest.raises(CertificateError, match="host name"):
        pki.issue_server(authority, pki.new_key(), ["clöud"], NOW)


def test_the_dict_of_getpeercert_tells_the_node() -> None:
    subject = ((("organizationName", "system:nodes"),), (("commonName", f"system:node:{NODE}"),))
    assert pki.node_of_certificate({"subject": subject}) == NODE
    assert pki.node_of_certificate({"subject": (*subject, subject[1])}) is None
    assert pki.node_of_certificate({"subject": subject[:1]}) is None
    assert pki.node_of_certificate({}) is None
    assert pki.node_of_certificate(b"nonsense") is None
    bare = ((("organizationName", "system:nodes"),), (("commonName", "system:node:"),))
    assert pki.node_of_certificate({"subject": bare}) is None


def test_hosts_have_one_spelling_in_a_certificate_and_out_of_it() -> None:
    hosts = ["2001:0DB8::0001", "127.0.0.1", "cloud.example.org"]
    authority = pki.new_authority(NOW)
    certificate = pki.issue_server(authority, pki.new_key(), hosts, NOW)
    assert pki.canonical_hosts(hosts) == pki.server_hosts(certificate)
    with pytest.raises(CertificateError):
        pki.canonical_hosts(["wörld"])


def test_an_authority_that_follows_another_one_is_told_from_it_by_its_name(
    authority: pki.Authority,
) -> None:
    follower, another = pki.next_authority(NOW), pki.next_authority(NOW)
    names = {one.certificate.subject for one in (authority, follower, another)}
    assert len(names) == 3
    assert all("CN=KubeEdge" in name.rfc4514_string() for name in names)
    assert pki.load_authority(follower.der, pki.key_to_der(follower.key)).der == follower.der
    assert pki.has_signed(follower.certificate, follower.certificate)


def test_the_older_authority_vouches_for_the_newer_ones_name_and_key(
    authority: pki.Authority,
) -> None:
    late = NOW + timedelta(days=400)
    follower = pki.next_authority(late)
    cross = pki.cross_sign(authority, follower, late)
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


def test_an_authority_that_has_expired_introduces_no_other_one(authority: pki.Authority) -> None:
    end = authority.certificate.not_valid_after_utc
    with pytest.raises(CertificateError, match="has expired on"):
        pki.cross_sign(authority, pki.next_authority(end), end)


def test_what_an_authority_of_the_same_name_has_signed_is_not_its_own(
    authority: pki.Authority,
) -> None:
    other = pki.new_authority(NOW)
    for signer in (authority, other):
        issued = pki.issue_node(signer, pki.new_csr(pki.new_key(), NODE), NODE, NOW)
        issued_here = pki.has_signed(authority.certificate, pki.load_certificate(issued.der))
        assert issued_here is (signer is authority)
