"""The proof for a renewal: made, sent and checked. Real: cryptography's keys and signatures."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from common import issuing, pki, proof, subjects
from common.errors import CertificateError
from common.names import NodeID

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1")
KEY, OTHER = pki.new_key(), pki.new_key()
AUTHORITY = issuing.new_authority(NOW)
CSR = subjects.new_csr(OTHER, NODE)
OLD = pki.load_certificate(
    issuing.issue_node(AUTHORITY, subjects.new_csr(KEY, NODE), NODE, NOW, timedelta(days=1)).der
)


def test_the_old_key_proves_the_new_request() -> None:
    proof.check_renewal(OLD, CSR, proof.sign_renewal(KEY, CSR))


def test_another_key_proves_nothing() -> None:
    with pytest.raises(CertificateError, match="not a signature of the old"):
        proof.check_renewal(OLD, CSR, proof.sign_renewal(OTHER, CSR))


def test_a_proof_for_one_request_is_none_for_another() -> None:
    signed = proof.sign_renewal(KEY, CSR)
    with pytest.raises(CertificateError):
        proof.check_renewal(OLD, subjects.new_csr(KEY, NODE), signed)


def test_what_the_key_signs_for_other_ends_is_no_proof() -> None:
    request = x509.load_der_x509_csr(subjects.new_csr(KEY, NODE))
    with pytest.raises(CertificateError):
        proof.check_renewal(OLD, request.tbs_certrequest_bytes, request.signature)


@given(st.binary(max_size=80))
def test_no_bytes_at_hand_are_a_proof(made_up: bytes) -> None:
    with pytest.raises(CertificateError):
        proof.check_renewal(OLD, CSR, made_up)


def test_a_certificate_with_a_key_of_another_kind_cannot_be_renewed() -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge")])
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    with pytest.raises(CertificateError, match="EC key"):
        proof.check_renewal(certificate, CSR, b"")


def test_a_certificate_with_a_key_of_no_known_kind_cannot_be_renewed() -> None:
    der = OLD.public_bytes(Encoding.DER)
    kind = bytes.fromhex("06072a8648ce3d0201")  # id-ecPublicKey
    assert kind in der
    certificate = pki.load_certificate(der.replace(kind, kind[:-1] + b"\x09"))
    with pytest.raises(CertificateError, match="cannot be used"):
        proof.check_renewal(certificate, CSR, b"")


@given(st.data())
def test_whatever_is_shown_is_refused_in_words_where_it_is_not_sound(data: st.DataObject) -> None:
    der = bytearray(OLD.public_bytes(Encoding.DER))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    headers = proof.renewal_headers(KEY, OLD, CSR)
    headers[proof.CERTIFICATE_HEADER] = base64.b64encode(der).decode()
    try:
        shown = proof.read_headers(headers)
        assert shown is not None
        proof.check_renewal(shown.certificate, CSR, shown.proof)
    except CertificateError:
        return
    assert shown.certificate.public_key() == KEY.public_key()


def test_the_headers_carry_both() -> None:
    headers = proof.renewal_headers(KEY, OLD, CSR)
    assert sorted(headers) == ["Cloudedge-Certificate", "Cloudedge-Proof"]
    assert sum(len(value) for value in headers.values()) < 2048
    shown = proof.read_headers(headers)
    assert shown is not None
    assert shown.certificate == OLD
    proof.check_renewal(shown.certificate, CSR, shown.proof)


def test_a_request_without_them_is_no_renewal() -> None:
    assert proof.read_headers({"NodeName": NODE}) is None


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        (proof.CERTIFICATE_HEADER, None, "belong together"),
        (proof.PROOF_HEADER, None, "belong together"),
        (proof.CERTIFICATE_HEADER, "AAAA", "not a certificate"),
        (proof.CERTIFICATE_HEADER, "?", "Cloudedge-Certificate is not base64"),
        (proof.PROOF_HEADER, "AAA", "Cloudedge-Proof is not base64"),
        (proof.PROOF_HEADER, "é", "Cloudedge-Proof is not base64"),
    ],
)
def test_damaged_headers_are_named(name: str, value: str | None, fault: str) -> None:
    headers = proof.renewal_headers(KEY, OLD, CSR)
    del headers[name]
    if value is not None:
        headers[name] = value
    with pytest.raises(CertificateError, match=fault):
        proof.read_headers(headers)
