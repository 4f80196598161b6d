"""Enrolment against a real HTTPS server on loopback; what it signs is up to the test."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common import issuing, pki
from common.errors import CertificateError, LinkError
from common.tls import client_context
from edgecore.edgehub import enroll
from edgecore.edgehub.certificates import ders_of
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, RefusedError, Task
from tests.edgecore.cloud import HOST, JWT, Peer, TestCloud

NOW = datetime.now(UTC)


async def nobody(_: Peer) -> None:
    return None


@pytest.fixture
async def config(cloud: TestCloud, tmp_path: Path) -> AsyncIterator[EnrollConfig]:
    async with cloud.listening(nobody):
        yield EnrollConfig("n1", HOST, cloud.https_port, str(tmp_path / "pki"))


async def test_a_token_gets_a_certificate_that_only_this_user_may_read(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    assert cloud.enrolments == ["n1"]
    certificate = pki.load_certificate(config.node_file.read_bytes())
    assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert config.authority_file.read_text() == cloud.authority.pem
    client_context(cloud.authority.pem, config.node_file)
    assert config.node_file.stat().st_mode & 0o777 == 0o600
    assert Path(config.folder).stat().st_mode & 0o777 == 0o700


async def test_a_cloud_that_is_not_the_tokens_is_not_trusted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    foreign = issuing.new_authority(NOW)
    with pytest.raises(CertificateError, match="somebody in between"):
        enroll.enroll(Task(Job.ENROLL, config, f"{pki.fingerprint(foreign.der)}.{JWT}"))
    assert cloud.enrolments == []
    assert not config.node_file.exists()


@pytest.mark.parametrize("token", ["", "abc", "a.b.c", "a.b.c.d.e", "a..c.d", "ä.b.c.d"])
async def test_what_is_no_token_is_refused_with_a_hint(config: EnrollConfig, token: str) -> None:
    with pytest.raises(CertificateError, match=r"--token|four parts"):
        enroll.enroll(Task(Job.ENROLL, config, token))


async def test_the_clouds_refusal_is_told_in_its_words(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    fingerprint = cloud.token.split(".")[0]
    with pytest.raises(LinkError, match="401 token is not valid"):
        enroll.enroll(Task(Job.ENROLL, config, f"{fingerprint}.x.y.z"))
    cloud.enrolment_status = 500
    with pytest.raises(LinkError, match="500 not today"):
        enroll.enroll(Task(Job.ENROLL, config, cloud.token))


async def test_an_edge_that_asks_again_asks_with_the_same_key_until_it_has_a_certificate(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    """As after a crash; the cloud knows it by that key."""
    task = Task(Job.ENROLL, config, cloud.token)
    cloud.enrolment_status = 500
    with pytest.raises(LinkError):
        enroll.enroll(task)
    assert config.joining_file.stat().st_mode & 0o777 == 0o600
    cloud.enrolment_status = 200
    enroll.enroll(task)
    assert not config.joining_file.exists()
    first, second = cloud.keys
    assert first == second
    config.joining_file.write_text("damaged")
    enroll.enroll(task)
    assert cloud.keys[2] != first


async def test_a_certificate_for_another_is_not_accepted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    cloud.issue_for = "n2"
    with pytest.raises(CertificateError, match="another node"):
        enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    cloud.issue_for = "n1"
    with pytest.raises(CertificateError, match="another key"):
        enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    assert not config.node_file.exists()


async def test_a_certificate_is_examined(cloud: TestCloud, config: EnrollConfig) -> None:
    assert "No such file" in enroll.examine(config, "", NOW)
    enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    assert enroll.examine(config, cloud.token, NOW) == ""
    assert enroll.examine(config, "", NOW) == ""
    assert "expired" in enroll.examine(config, "", NOW + timedelta(days=400))
    assert "another authority" in enroll.examine(config, f"{'0' * 64}.{JWT}", NOW)
    assert "four parts" in enroll.examine(config, "broken", NOW)
    config.node_file.write_text("nothing")
    assert "not a certificate" in enroll.examine(config, "", NOW)


async def test_a_task_names_the_job(cloud: TestCloud, config: EnrollConfig) -> None:
    assert enroll.carry_out(Task(Job.ENROLL, config, cloud.token, NOW)) == ""
    late = NOW + timedelta(days=400)
    assert "expired" in enroll.carry_out(Task(Job.EXAMINE, config, cloud.token, late))


@pytest.fixture
async def enrolled(cloud: TestCloud, config: EnrollConfig) -> EnrollConfig:
    enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    return config


def kept(config: EnrollConfig) -> bytes:
    return config.node_file.read_bytes()


def trusted(config: EnrollConfig) -> list[bytes]:
    return ders_of(config.authority_file.read_text())


async def test_a_certificate_is_renewed_for_a_proof_with_a_new_key(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    before = kept(enrolled)
    assert enroll.carry_out(Task(Job.RENEW, enrolled)) == ""
    assert cloud.renewals == [("proof", pki.fingerprint(cloud.authority.der))]
    assert kept(enrolled) != before
    assert pki.load_certificate(kept(enrolled)).public_key() != (
        pki.load_certificate(before).public_key()
    )
    assert enroll.examine(enrolled, cloud.token, NOW) == ""
    assert enrolled.node_file.stat().st_mode & 0o777 == 0o600


async def test_an_expired_certificate_is_renewed_by_proof(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    cloud.clock_ahead = timedelta(days=-400)
    enroll.enroll(Task(Job.ENROLL, config, cloud.token))
    cloud.clock_ahead = timedelta()
    assert "expired" in enroll.examine(config, "", NOW)
    enroll.renew(Task(Job.RENEW, config, known=NOW))
    assert enroll.examine(config, "", NOW) == ""
    assert [how for how, _ in cloud.renewals] == ["proof"]


async def test_a_cloud_that_knows_no_proofs_is_shown_the_certificate(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    cloud.knows_proofs = cloud.has_bundle = False
    enroll.renew(Task(Job.RENEW, enrolled))
    assert [how for how, _ in cloud.renewals] == ["tls"]
    assert trusted(enrolled) == [cloud.authority.der]


@pytest.mark.parametrize("status", [401, 403, 503])
async def test_a_renewal_that_is_refused_is_told_and_changes_nothing(
    cloud: TestCloud, enrolled: EnrollConfig, status: int
) -> None:
    before = kept(enrolled)
    cloud.renewal_refusal = (status, b"the certificate is revoked")
    with pytest.raises(RefusedError, match=f"{status} the certificate is revoked"):
        enroll.renew(Task(Job.RENEW, enrolled))
    assert kept(enrolled) == before


async def test_a_renewed_certificate_for_another_is_not_accepted(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    before = kept(enrolled)
    cloud.issue_for = "n2"
    with pytest.raises(CertificateError, match="another node"):
        enroll.renew(Task(Job.RENEW, enrolled))
    assert kept(enrolled) == before


async def test_another_authority_is_followed_and_then_signs_the_certificate(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    old, new = cloud.authority, cloud.rotate()
    enroll.follow(Task(Job.FOLLOW, enrolled, authority=pki.fingerprint(new.der)))
    assert trusted(enrolled) == [new.der, old.der]
    pki.load_certificate(kept(enrolled)).verify_directly_issued_by(new.certificate)
    assert cloud.renewals == [("proof", pki.fingerprint(new.der))]
    enroll.follow(Task(Job.FOLLOW, enrolled))
    assert len(cloud.renewals) == 1
    assert enroll.examine(enrolled, cloud.token, NOW) == ""  # the token is by the old one


async def test_an_authority_that_is_given_up_is_not_trusted_any_more(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    old, new = cloud.authority, cloud.rotate()
    enroll.follow(Task(Job.FOLLOW, enrolled))
    cloud.earlier = None
    enroll.follow(Task(Job.FOLLOW, enrolled))
    assert trusted(enrolled) == [new.der]
    assert old.der not in trusted(enrolled)


async def test_an_authority_that_is_named_and_not_told_is_not_followed(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    for named in ("0" * 64, pki.fingerprint(issuing.new_authority(NOW).der)):
        with pytest.raises(CertificateError, match="not among those"):
            enroll.follow(Task(Job.FOLLOW, enrolled, authority=named))
    cloud.has_bundle = False
    with pytest.raises(LinkError, match="404"):
        enroll.follow(Task(Job.FOLLOW, enrolled, authority="0" * 64))
    assert trusted(enrolled) == [cloud.authority.der]


async def test_what_is_no_authority_is_not_trusted(
    cloud: TestCloud, enrolled: EnrollConfig
) -> None:
    node = pki.load_certificate(kept(enrolled))
    impostor = issuing.Authority(node, pki.new_key())
    cloud.earlier = impostor
    enroll.follow(Task(Job.FOLLOW, enrolled))
    assert trusted(enrolled) == [cloud.authority.der]


async def test_a_token_by_the_authority_before_enrols_while_both_are_trusted(
    cloud: TestCloud, config: EnrollConfig
) -> None:
    token = cloud.token
    old = cloud.authority
    cloud.rotate()
    enroll.enroll(Task(Job.ENROLL, config, token))
    assert trusted(config) == [old.der]
