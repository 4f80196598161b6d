"""Enrolment. Real: HTTPS with client certificates on loopback, and the API server behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.acceptor import bind
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.trust import credentials, tokens
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.enroll import MAX_CSR_BYTES, Enrollment, EnrollTerms
from cloudcore.trust.identity import load_identity
from cloudcore.trust.ledger import Ledger
from cloudcore.trust.tokenrecord import TokenRecord, Use, digest_of
from cloudcore.trust.tokenrecords import TokenRecords
from common import issuing, pki, proof, subjects, tls
from common.files import write_private
from common.names import NodeID
from tests.cloudcore.cloudhub.stage import HOST
from tests.cloudcore.cluster import make_node, unique

pytestmark = pytest.mark.e2e

DAY = timedelta(days=1)


@dataclass
class Joining:
    """A server, and what somebody has who wants to join."""

    url: str
    authority: issuing.Authority
    registry: CollectorRegistry
    folder: Path

    def token(self, node: str = "", lifetime: timedelta = tokens.LIFETIME) -> str:
        whole = tokens.new_token(self.authority, datetime.now(UTC), lifetime, node)
        return whole.partition(".")[2]

    def refused(self, reason: str) -> float:
        labels = {"reason": f"enroll_{reason}"}
        return self.registry.get_sample_value("cloudcore_refusals_total", labels) or 0.0

    def issued(self, by: str) -> float:
        labels = {"by": by}
        name = "cloudcore_certificates_issued_total"
        return self.registry.get_sample_value(name, labels) or 0.0

    async def named_token(
        self, client: KubeClient, node: str = "", *, single_use: bool = False
    ) -> str:
        """Return a token that has a record, bound to ``node`` if one is given."""
        name, expires = unique("token"), datetime.now(UTC).replace(microsecond=0) + DAY
        whole = tokens.new_named_token(self.authority, expires, name, "id")
        jwt = whole.partition(".")[2]
        record = TokenRecord(
            digest=digest_of(jwt), expires=expires, node=node, single_use=single_use
        )
        await TokenRecords(client).create(name, record)
        return jwt

    async def get(
        self,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        context: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes]:
        context = context or tls.client_context(self.authority.pem)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(self.url + path, headers=headers, data=body or None) as response,
        ):
            return response.status, await response.read()

    async def enrol(
        self,
        node: str,
        token: str = "",
        *,
        csr: bytes | None = None,
        context: ssl.SSLContext | None = None,
    ) -> tuple[int, bytes]:
        """Ask for a certificate as KubeEdge's edge does: GET with a body."""
        headers = {"NodeName": node}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if csr is None:
            csr = subjects.new_csr(pki.new_key(), NodeID(node))
        return await self.get("/edge.crt", headers, csr, context)

    def certificate(self, node: str, signer: issuing.Authority) -> ssl.SSLContext:
        """What a node that was enrolled before shows."""
        key = pki.new_key()
        issued = issuing.issue_node(
            signer, subjects.new_csr(key, NodeID(node)), NodeID(node), datetime.now(UTC)
        )
        files = self.folder / f"{node}.crt", self.folder / f"{node}.key"
        write_private(files[0], pki.cert_to_pem(issued.der).encode())
        write_private(files[1], pki.key_to_pem(key))
        return tls.client_context(self.authority.pem, *files)


@pytest.fixture
async def joining(client: KubeClient, tmp_path: Path) -> AsyncIterator[Joining]:
    identity = await load_identity(client, [HOST], tmp_path, asyncio.Event())
    assert identity is not None
    sockets, registry = bind([(HOST, 0)]), CollectorRegistry()
    port = sockets[0].getsockname()[1]
    enrollment = Enrollment(
        client,
        lambda: identity.authorities,
        CloudMetrics(registry),
        lambda: datetime.now(UTC),
    )
    async with enrollment.served(sockets, identity.context(ssl.CERT_OPTIONAL)):
        yield Joining(f"https://{HOST}:{port}", identity.authorities.current, registry, tmp_path)


def node_in(der: bytes) -> str | None:
    return subjects.node_of_certificate(der)


async def test_the_authority_is_given_to_anybody(joining: Joining) -> None:
    status, body = await joining.get("/ca.crt", context=tls.unverified_context())
    assert (status, body) == (200, joining.authority.der)


async def test_a_plain_token_enrols_a_free_name_once(joining: Joining) -> None:
    node = unique("n")
    status, der = await joining.enrol(node, joining.token())
    assert (status, node_in(der)) == (200, node)
    pki.load_certificate(der).verify_directly_issued_by(joining.authority.certificate)
    status, text = await joining.enrol(node, joining.token())
    assert status == 403
    assert f"cloudcore token create --node-name {node}" in text.decode()
    assert joining.refused("name_taken") == 1


async def test_a_plain_token_does_not_take_over_a_node(
    joining: Joining, client: KubeClient
) -> None:
    node = await make_node(client)
    status, text = await joining.enrol(node, joining.token())
    assert status == 403
    assert f"the Node {node} exists" in text.decode()
    status, der = await joining.enrol(node, joining.token(node))
    assert (status, node_in(der)) == (200, node)


async def test_a_token_that_is_bound_is_good_for_its_node_only_and_for_it_again(
    joining: Joining,
) -> None:
    node, other = unique("n"), unique("n")
    for _ in range(2):
        assert (await joining.enrol(node, joining.token(node)))[0] == 200
    status, text = await joining.enrol(other, joining.token(node))
    assert (status, f"bound to {node}" in text.decode()) == (401, True)


async def test_one_of_many_with_plain_tokens_gets_a_name(joining: Joining) -> None:
    node, token = unique("n"), joining.token()
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(joining.enrol(node, token)) for _ in range(6)]
    statuses = sorted(one.result()[0] for one in tries)
    assert statuses[0] == 200
    assert set(statuses[1:]) <= {403, 409}


async def test_a_token_of_an_exact_name_enrols_that_node_though_the_name_is_taken(
    joining: Joining, client: KubeClient
) -> None:
    node = await make_node(client)
    status, der = await joining.enrol(node, await joining.named_token(client, node))
    assert (status, node_in(der)) == (200, node)


@pytest.mark.parametrize("pattern", ["", "n-*"])
async def test_a_token_of_a_pattern_or_of_none_enrols_free_names_only(
    joining: Joining, client: KubeClient, pattern: str
) -> None:
    token = await joining.named_token(client, pattern)
    assert (await joining.enrol(await make_node(client), token))[0] == 403
    free = unique("n")
    assert (await joining.enrol(free, token))[0] == 200
    assert (await joining.enrol(free, token))[0] == 403
    assert (await joining.enrol(unique("m"), token))[0] == (401 if pattern else 200)


async def test_a_token_for_one_enrolment_is_not_spent_on_a_name_that_is_refused(
    joining: Joining, client: KubeClient
) -> None:
    token = await joining.named_token(client, single_use=True)
    taken, free = await make_node(client), unique("n")
    for _ in range(2):  # having asked once gives no right to a name
        assert (await joining.enrol(taken, token))[0] == 403
    assert (await joining.enrol(free, token))[0] == 200
    status, text = await joining.enrol(unique("n"), token)
    assert (status, b"has been used" in text) == (401, True)
    assert joining.refused("token") == 1


async def test_a_machine_whose_answer_got_lost_asks_again_with_the_same_key(
    joining: Joining, client: KubeClient
) -> None:
    for token in (await joining.named_token(client, single_use=True), joining.token()):
        node = NodeID(unique("n"))
        csr = subjects.new_csr(pki.new_key(), node)
        for _ in range(3):
            assert (await joining.enrol(node, token, csr=csr))[0] == 200
        assert (await joining.enrol(node, token))[0] in (401, 403), "not with another key"


async def test_a_machine_that_crashed_between_use_and_certificate_asks_again(
    joining: Joining, client: KubeClient
) -> None:
    """What is noted by then is the use, by which key."""
    token, node = await joining.named_token(client, single_use=True), NodeID(unique("n"))
    key = pki.new_key()
    records, now = TokenRecords(client), datetime.now(UTC)
    name = tokens.check_token(joining.authority, token, now).name
    assert name is not None
    kept = await records.find(name)
    assert kept is not None
    assert await records.note(kept, Use(node, now, pki.key_hash(key.public_key())))
    assert (await joining.enrol(node, token))[0] == 401
    assert (await joining.enrol(node, token, csr=subjects.new_csr(key, node)))[0] == 200


async def test_a_certificate_renews_itself_and_no_other(joining: Joining) -> None:
    node = unique("n")
    own = joining.certificate(node, joining.authority)
    status, der = await joining.enrol(node, context=own)
    assert (status, node_in(der)) == (200, node)
    status, _ = await joining.enrol(unique("n"), context=own)
    assert status == 401
    # Not even with a token: who shows a certificate is that node.
    assert (await joining.enrol(unique("n"), joining.token(), context=own))[0] == 401
    stranger = joining.certificate(node, issuing.new_authority(datetime.now(UTC)))
    with pytest.raises(aiohttp.ClientError):
        await joining.enrol(node, context=stranger)


@pytest.mark.parametrize(
    ("token", "hint"),
    [("", "cloudcore token create"), ("x.y.z", "cloudcore token create")],
)
async def test_without_a_token_of_ours_there_is_no_certificate(
    joining: Joining, token: str, hint: str
) -> None:
    status, text = await joining.enrol(unique("n"), token)
    assert (status, hint in text.decode()) == (401, True)


async def test_an_expired_token_says_so(joining: Joining) -> None:
    token = joining.token(lifetime=timedelta(seconds=-1))
    status, text = await joining.enrol(unique("n"), token)
    assert (status, b"expired" in text) == (401, True)


async def test_a_request_for_another_subject_is_not_signed(joining: Joining) -> None:
    node = unique("n")
    for csr in (subjects.new_csr(pki.new_key(), NodeID("other")), b"", b"x" * MAX_CSR_BYTES):
        status, text = await joining.enrol(node, joining.token(node), csr=csr)
        assert status == 400
        assert text
    assert joining.refused("csr") == 3


async def test_a_request_has_a_size(joining: Joining) -> None:
    node = unique("n")
    csr = b"x" * (MAX_CSR_BYTES + 1)
    status, text = await joining.enrol(node, joining.token(node), csr=csr)
    assert (status, str(MAX_CSR_BYTES).encode() in text) == (413, True)
    assert joining.refused("csr_too_large") == 1


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "a" * 254, "system:node:x"])
async def test_a_name_that_no_node_can_have_is_refused(joining: Joining, name: str) -> None:
    csr = subjects.new_csr(pki.new_key(), NodeID("n"))
    status, text = await joining.enrol(name, joining.token(), csr=csr)
    assert (status, b"NodeName" in text) == (400, True)


async def test_keadm_can_ask_whether_a_name_is_taken(joining: Joining, client: KubeClient) -> None:
    node = await make_node(client)
    assert await joining.get(f"/node/{node}") == (200, b"Node found")
    assert await joining.get(f"/node/{unique('n')}") == (404, b"Node not found")


async def test_an_authority_is_given_by_its_hash(joining: Joining) -> None:
    stranger = tls.unverified_context()
    fingerprint = pki.fingerprint(joining.authority.der)
    given = await joining.get(f"/ca.crt?fingerprint={fingerprint}", context=stranger)
    assert given == (200, joining.authority.der)
    status, text = await joining.get(f"/ca.crt?fingerprint={'0' * 64}", context=stranger)
    assert (status, b"no authority with this fingerprint" in text) == (404, True)


async def test_the_bundle_of_those_that_are_trusted_is_given_to_anybody(joining: Joining) -> None:
    status, text = await joining.get("/ca.pem", context=tls.unverified_context())
    assert (status, text.decode()) == (200, joining.authority.pem)


@dataclass(frozen=True)
class Enrolled:
    """A node as an edge is that was enrolled some time ago."""

    node: str
    key: pki.Key
    certificate: x509.Certificate

    def headers(self, csr: bytes) -> dict[str, str]:
        return {"NodeName": self.node, **proof.renewal_headers(self.key, self.certificate, csr)}


def enrolled(
    signer: issuing.Authority, expired_for: timedelta, node: str = "", key: pki.Key | None = None
) -> Enrolled:
    """Return a node whose certificate was good for a year, until ``expired_for`` ago."""
    name, key = NodeID(node or unique("n")), key or pki.new_key()
    then = datetime.now(UTC) - expired_for - issuing.NODE_LIFETIME
    issued = issuing.issue_node(signer, subjects.new_csr(key, name), name, then)
    return Enrolled(name, key, pki.load_certificate(issued.der))


async def renew(joining: Joining, edge: Enrolled) -> tuple[int, bytes]:
    csr = subjects.new_csr(pki.new_key(), NodeID(edge.node))
    return await joining.get("/edge.crt", edge.headers(csr), csr)


async def note(client: KubeClient, edge: Enrolled) -> Ledger:
    """Have the ledger know that the node was enrolled."""
    certificate, ledger = edge.certificate, Ledger(client)
    issued = issuing.Issued(b"", certificate.serial_number, certificate.not_valid_after_utc)
    await ledger.record(NodeID(edge.node), issued, None)
    return ledger


async def test_an_old_key_gets_a_new_certificate_though_the_old_one_has_expired(
    joining: Joining, client: KubeClient
) -> None:
    for expired_for in (timedelta(days=-200), timedelta(days=364)):
        edge = enrolled(joining.authority, expired_for)
        await note(client, edge)
        status, der = await renew(joining, edge)
        assert (status, node_in(der)) == (200, edge.node)
        pki.load_certificate(der).verify_directly_issued_by(joining.authority.certificate)
    assert joining.issued("proof") == 2


async def test_what_has_expired_is_renewed_for_a_node_that_is_known_only(
    joining: Joining, client: KubeClient
) -> None:
    late = timedelta(days=30)
    unknown = enrolled(joining.authority, late)
    status, text = await renew(joining, unknown)
    assert (status, b"nothing is known of a node" in text) == (403, True)
    assert joining.refused("unknown_node") == 1
    registered = enrolled(joining.authority, late, node=await make_node(client))
    assert (await renew(joining, registered))[0] == 200
    assert (await renew(joining, enrolled(joining.authority, -late)))[0] == 200


async def test_the_grace_ends(joining: Joining, client: KubeClient) -> None:
    edge = enrolled(joining.authority, timedelta(days=366))
    await note(client, edge)
    status, text = await renew(joining, edge)
    assert (status, b"--renewal-grace-days" in text) == (403, True)
    assert f"cloudcore token create --node-name {edge.node}" in text.decode()
    assert joining.refused("expired") == 1


async def test_a_proof_is_good_for_its_own_node_key_and_request(joining: Joining) -> None:
    edge = enrolled(joining.authority, timedelta(days=-1))
    csr = subjects.new_csr(pki.new_key(), NodeID(edge.node))
    signed = edge.headers(csr)
    # Another request than the one that was signed.
    other = subjects.new_csr(pki.new_key(), NodeID(edge.node))
    assert (await joining.get("/edge.crt", signed, other))[0] == 401
    # Only one of the two headers.
    halved = {name: signed[name] for name in ("NodeName", proof.CERTIFICATE_HEADER)}
    assert (await joining.get("/edge.crt", halved, csr))[0] == 401
    assert joining.refused("proof") == 2
    # Another node's name, in the header and in the request.
    name = unique("n")
    csr = subjects.new_csr(pki.new_key(), NodeID(name))
    status, text = await joining.get("/edge.crt", {**edge.headers(csr), "NodeName": name}, csr)
    assert (status, f"not {name}'s" in text.decode()) == (401, True)
    # A certificate by somebody else.
    stranger = enrolled(issuing.new_authority(datetime.now(UTC)), timedelta(days=-1))
    status, text = await renew(joining, stranger)
    assert (status, b"not by an authority of this cluster" in text) == (401, True)
    assert joining.refused("wrong_certificate") == 2


async def test_a_revoked_certificate_is_not_renewed_in_any_way(
    joining: Joining, client: KubeClient
) -> None:
    edge = enrolled(joining.authority, timedelta(days=-1))
    ledger, node = await note(client, edge), NodeID(edge.node)
    in_tls = joining.certificate(edge.node, joining.authority)
    assert (await joining.enrol(edge.node, context=in_tls))[0] == 200
    await ledger.revoke(node, datetime.now(UTC))
    for status, text in (
        await renew(joining, edge),
        await joining.enrol(edge.node, context=in_tls),
        await joining.enrol(edge.node, joining.token()),
        await joining.enrol(edge.node, joining.token(edge.node)),  # nobody knows of when it is
        await joining.enrol(edge.node, await joining.named_token(client)),
    ):
        assert (status, b"is revoked" in text) == (403, True)
        assert f"cloudcore token create --node-name {edge.node}" in text.decode()
    assert joining.refused("revoked") == 5


async def test_a_new_token_makes_a_revoked_node_good_again_and_its_old_keys_not(
    joining: Joining, client: KubeClient
) -> None:
    edge = enrolled(joining.authority, timedelta(days=-1))
    ledger, node = await note(client, edge), NodeID(edge.node)
    await ledger.revoke(node, datetime.now(UTC))
    key, token = pki.new_key(), await joining.named_token(client, edge.node)
    status, der = await joining.enrol(edge.node, token, csr=subjects.new_csr(key, node))
    assert status == 200
    again = Enrolled(edge.node, key, pki.load_certificate(der))
    for _ in range(3):
        status, der = await renew(joining, again)  # whose answer may get lost
        assert status == 200
    assert (await renew(joining, edge))[0] == 403
    seen = await ledger.find(node)
    assert seen is not None
    assert seen.accepts(again.certificate.serial_number)
    assert seen.accepts(pki.load_certificate(der).serial_number)
    assert not seen.accepts(edge.certificate.serial_number)


async def test_who_is_revoked_while_a_certificate_is_made_does_not_get_it(
    joining: Joining, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = enrolled(joining.authority, timedelta(days=-1))
    ledger, node = await note(client, edge), NodeID(edge.node)
    find = Ledger.find

    async def find_and_be_overtaken(self: Ledger, node: NodeID) -> object:
        seen = await find(self, node)
        monkeypatch.setattr(Ledger, "find", find)
        await ledger.revoke(node, datetime.now(UTC))
        return seen

    monkeypatch.setattr(Ledger, "find", find_and_be_overtaken)
    assert (await renew(joining, edge))[0] == 409
    seen = await ledger.find(node)
    assert seen is not None
    assert seen.is_shut_out


async def test_while_an_authority_is_replaced_the_newer_one_signs_and_both_are_known(
    client: KubeClient, joining: Joining
) -> None:
    old, now = joining.authority, datetime.now(UTC)
    new = issuing.next_authority(now)
    both = Authorities(new, old, issuing.cross_sign(old, new, now).public_bytes(Encoding.DER))
    key, folder = pki.new_key(), joining.folder / "during"
    server = issuing.issue_server(new, key, [HOST], now)
    files = credentials.write_server_files(folder, server, key, both.chain_pem)
    context = tls.server_context(*files, client_ca_pem=both.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    sockets, registry = bind([(HOST, 0)]), CollectorRegistry()
    url = f"https://{HOST}:{sockets[0].getsockname()[1]}"
    enrollment = Enrollment(client, lambda: both, CloudMetrics(registry), lambda: datetime.now(UTC))
    async with enrollment.served(sockets, lambda: context):
        during = Joining(url, old, registry, joining.folder)
        assert await during.get("/ca.crt") == (200, new.der)
        for one in both.trusted:
            given = await during.get(f"/ca.crt?fingerprint={pki.fingerprint(one.der)}")
            assert given == (200, one.der)
        assert await during.get("/ca.pem") == (200, both.pem.encode())
        for signer in both.trusted:
            node, token = unique("n"), tokens.new_token(signer, now).partition(".")[2]
            status, der = await during.enrol(node, token)
            assert status == 200, "by a token of either"
            assert pki.has_signed(new.certificate, pki.load_certificate(der))
            entry = await Ledger(client).find(NodeID(node))
            assert entry is not None
            assert entry.issuer == both.fingerprint
            own = during.certificate(node, signer)
            status, der = await during.enrol(node, context=own)
            assert status == 200, "by a certificate of either, as KubeEdge's edges renew"
            assert pki.has_signed(new.certificate, pki.load_certificate(der))


async def test_a_certificate_is_good_for_as_long_as_the_terms_say(
    client: KubeClient, joining: Joining
) -> None:
    now, key = datetime.now(UTC), pki.new_key()
    server = issuing.issue_server(joining.authority, key, [HOST], now)
    files = credentials.write_server_files(joining.folder / "terms", server, key)
    context = tls.server_context(*files, client_ca_pem=joining.authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    sockets, registry = bind([(HOST, 0)]), CollectorRegistry()
    url = f"https://{HOST}:{sockets[0].getsockname()[1]}"
    enrollment = Enrollment(
        client,
        lambda: Authorities(joining.authority),
        CloudMetrics(registry),
        lambda: now,
        EnrollTerms(lifetime=timedelta(days=30)),
    )
    async with enrollment.served(sockets, lambda: context):
        brief = Joining(url, joining.authority, registry, joining.folder)
        status, der = await brief.enrol(unique("n"), brief.token())
    assert status == 200
    assert pki.load_certificate(der).not_valid_after_utc == (now + timedelta(days=30)).replace(
        microsecond=0
    )
