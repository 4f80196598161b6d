"""Who gets a new certificate for an old one. Pure; keys and signatures are cryptography's."""

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import product

import pytest

from cloudcore.trust import renewal
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.renewal import OldCertificate, Standing
from common import issuing, pki, proof, subjects
from common.errors import CertificateError
from common.names import NodeID

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1")
DAY = timedelta(days=1)
MOMENT = timedelta(seconds=1)

# By what is asked first: who has it, who has signed it, whether it is revoked, whether it has
# expired and how that compares to the grace, whether the node is known.
ANSWERS = {
    (False, False): "wrong_certificate",
    (False, True): "wrong_certificate",
    (True, False): "wrong_certificate",
    (True, True, True): "revoked",
    (True, True, False, "good"): "",
    (True, True, False, "late"): "expired",
    (True, True, False, "within", False): "unknown_node",
    (True, True, False, "within", True): "",
}
STATUS = {
    "wrong_certificate": HTTPStatus.UNAUTHORIZED,
    "revoked": HTTPStatus.FORBIDDEN,
    "expired": HTTPStatus.FORBIDDEN,
    "unknown_node": HTTPStatus.FORBIDDEN,
}
GRACES = (timedelta(0), MOMENT, DAY, 365 * DAY)


def expiry(expired_for: timedelta, grace: timedelta) -> str:
    if expired_for <= timedelta(0):
        return "good"
    return "within" if expired_for <= grace else "late"


def expected(case: tuple[object, ...]) -> str:
    """Return the answer of the only line of the table that is about ``case``."""
    (line,) = [known for known in ANSWERS if case[: len(known)] == known]
    return ANSWERS[line]


def expiries(grace: timedelta) -> set[timedelta]:
    edges = (timedelta(0), grace, 365 * DAY, 100 * 365 * DAY)
    return {
        sign * edge + off
        for edge in edges
        for sign in (1, -1)
        for off in (-MOMENT, 0 * DAY, MOMENT)
    }


@pytest.mark.parametrize("grace", GRACES)
def test_the_answer_is_that_of_the_table_in_every_case(grace: timedelta) -> None:
    seen = set()
    booleans = (False, True)
    for is_own, is_ours, is_revoked, is_known, is_proof in product(booleans, repeat=5):
        for expired_for in expiries(grace):
            old = OldCertificate(
                NODE if is_own else NodeID("other"),
                1,
                is_ours=is_ours,
                expired_for=expired_for,
                is_proof=is_proof,
            )
            answer = renewal.judge(NODE, old, Standing(is_revoked, is_known), grace)
            case = (is_own, is_ours, is_revoked, expiry(expired_for, grace), is_known)
            reason = "" if answer is None else answer.reason
            assert reason == expected(case)
            seen.add(reason)
            if answer is not None:
                assert answer.status == STATUS[reason]
                assert f"cloudcore token create --node-name {NODE}" in answer.text
    assert seen == {"", *STATUS} - ({"unknown_node"} if not grace else set())


def test_what_is_no_nodes_certificate_is_nobodys() -> None:
    old = OldCertificate(None, 1, is_ours=True, expired_for=-DAY, is_proof=True)
    answer = renewal.judge(NODE, old, Standing(is_revoked=False, is_known=True), DAY)
    assert answer is not None
    assert answer.reason == "wrong_certificate"


def test_a_refusal_says_for_how_long_a_certificate_has_expired_and_may_have() -> None:
    old = OldCertificate(NODE, 1, is_ours=True, expired_for=400 * DAY, is_proof=True)
    answer = renewal.judge(NODE, old, Standing(is_revoked=False, is_known=True), 365 * DAY)
    assert answer is not None
    assert "expired 400 days ago, and is renewed for 365 days" in answer.text


def test_of_what_is_shown_in_tls_name_number_and_signer_are_judged() -> None:
    subject = ((("organizationName", "system:nodes"),), (("commonName", f"system:node:{NODE}"),))
    shown = {"subject": subject, "serialNumber": "0ABC"}
    for is_ours in (True, False):
        assert renewal.shown_in_tls(shown, is_ours=is_ours) == OldCertificate(
            NODE, 0xABC, is_ours=is_ours, expired_for=timedelta(0), is_proof=False
        )


def presented(signer: issuing.Authority, until: datetime, csr: bytes) -> proof.Presented:
    key = pki.new_key()
    issued = issuing.issue_node(signer, subjects.new_csr(key, NODE), NODE, until - DAY, DAY)
    certificate = pki.load_certificate(issued.der)
    return proof.Presented(certificate, proof.sign_renewal(key, csr))


def test_a_proof_shows_a_certificate_whoever_of_the_trusted_has_signed_it() -> None:
    old, new, stranger = (
        issuing.new_authority(NOW),
        issuing.next_authority(NOW),
        issuing.new_authority(NOW),
    )
    authorities = Authorities(new, old)
    csr = subjects.new_csr(pki.new_key(), NODE)
    for signer, is_ours in ((old, True), (new, True), (stranger, False)):
        for until in (NOW - 10 * DAY, NOW + DAY):
            one = presented(signer, until, csr)
            assert renewal.shown_by_proof(one, csr, authorities, NOW) == OldCertificate(
                NODE,
                one.certificate.serial_number,
                is_ours=is_ours,
                expired_for=NOW - until,
                is_proof=True,
            )


def test_a_proof_for_another_request_shows_nothing() -> None:
    authority = issuing.new_authority(NOW)
    one = presented(authority, NOW, subjects.new_csr(pki.new_key(), NODE))
    with pytest.raises(CertificateError):
        renewal.shown_by_proof(
            one, subjects.new_csr(pki.new_key(), NODE), Authorities(authority), NOW
        )
