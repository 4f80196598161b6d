"""Which authorities are trusted while one follows the other. Pure; the cryptography is real."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.trust.authorities import Authorities
from common import issuing, pki, subjects
from common.names import NodeID

NOW = datetime(2026, 7, 4, tzinfo=UTC)
NODE = NodeID("n1")
OLD = issuing.new_authority(NOW)
NEW = issuing.next_authority(NOW)
CROSS = issuing.cross_sign(OLD, NEW, NOW).public_bytes(Encoding.DER)
ALONE = Authorities(OLD)
BOTH = Authorities(NEW, OLD, CROSS)


def certificate_by(authority: issuing.Authority) -> x509.Certificate:
    issued = issuing.issue_node(authority, subjects.new_csr(pki.new_key(), NODE), NODE, NOW)
    return pki.load_certificate(issued.der)


def test_one_alone_is_all_there_is() -> None:
    assert ALONE.trusted == (OLD,)
    assert ALONE.pem == OLD.pem
    assert ALONE.chain_pem == ""
    assert ALONE.fingerprint == pki.fingerprint(OLD.der)


def test_while_one_follows_the_other_both_are_trusted_the_newest_first() -> None:
    assert BOTH.trusted == (NEW, OLD)
    assert [
        c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(BOTH.pem.encode())
    ] == [NEW.der, OLD.der]
    assert BOTH.fingerprint == pki.fingerprint(NEW.der)
    assert pki.load_certificate(BOTH.chain_pem.encode()).public_bytes(Encoding.DER) == CROSS


def test_an_authority_is_found_by_its_hash() -> None:
    assert BOTH.find(pki.fingerprint(OLD.der)) is OLD
    assert BOTH.find(pki.fingerprint(NEW.der).upper()) is NEW
    assert ALONE.find(pki.fingerprint(NEW.der)) is None
    assert BOTH.find("") is None


def test_it_is_known_who_has_signed_what() -> None:
    assert BOTH.signer_of(certificate_by(OLD)) is OLD
    assert BOTH.signer_of(certificate_by(NEW)) is NEW
    assert ALONE.signer_of(certificate_by(NEW)) is None
    assert BOTH.signer_of(certificate_by(issuing.new_authority(NOW))) is None, "of the same name"
