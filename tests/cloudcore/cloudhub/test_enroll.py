"""Enrolment. Real: HTTPS with client certificates on loopback, and the API server behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from cloudcore.cloudhub import tokens
from cloudcore.cloudhub.acceptor import bind
from cloudcore.cloudhub.enroll import MAX_CSR_BYTES, MAX_HEADER_BYTES, Enrollment
from cloudcore.cloudhub.identity import load_identity
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from common import pki, tls
from common.files import write_private
from common.names import NodeID
from tests.cloudcore.cloudhub.stage import HOST
from tests.cloudcore.cluster import make_node, unique

pytestmark = pytest.mark.e2e


@dataclass
class Joining:
    """A server, and what somebody has who wants to join."""

    url: str
    authority: pki.Authority
    registry: CollectorRegistry
    folder: Path

    def token(self, node: str = "", lifetime: timedelta = tokens.LIFETIME) -> str:
        whole = tokens.new_token(self.authority, datetime.now(UTC), lifetime, node)
        return whole.partition(".")[2]

    def refused(self, reason: str) -> float:
        labels = {"reason": f"enroll_{reason}"}
        return self.registry.get_sample_value("cloudcore_refusals_total", labels) or 0.0

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
            csr = pki.new_csr(pki.new_key(), NodeID(node))
        return await self.get("/edge.crt", headers, csr, context)

    def certificate(self, node: str, signer: pki.Authority) -> ssl.SSLContext:
        """What a node that was enrolled before shows."""
        key = pki.new_key()
        issued = pki.issue_node(
            signer, pki.new_csr(key, NodeID(node)), NodeID(node), datetime.now(UTC)
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
    return pki.node_of_certificate(der)


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


async def test_a_certificate_renews_itself_and_no_other(joining: Joining) -> None:
    node = unique("n")
    own = joining.certificate(node, joining.authority)
    status, der = await joining.enrol(node, context=own)
    assert (status, node_in(der)) == (200, node)
    status, _ = await joining.enrol(unique("n"), context=own)
    assert status == 401
    # Not even with a token: who shows a certificate is that node.
    assert (await joining.enrol(unique("n"), joining.token(), context=own))[0] == 401
    stranger = joining.certificate(node, pki.new_authority(datetime.now(UTC)))
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
    for csr in (pki.new_csr(pki.new_key(), NodeID("other")), b"", b"x" * MAX_CSR_BYTES):
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


async def test_headers_have_a_size(joining: Joining) -> None:
    status, _ = await joining.get("/ca.crt", {"X": "x" * (MAX_HEADER_BYTES + 1)})
    assert status == 400


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "a" * 254, "system:node:x"])
async def test_a_name_that_no_node_can_have_is_refused(joining: Joining, name: str) -> None:
    csr = pki.new_csr(pki.new_key(), NodeID("n"))
    status, text = await joining.enrol(name, joining.token(), csr=csr)
    assert (status, b"NodeName" in text) == (400, True)


async def test_keadm_can_ask_whether_a_name_is_taken(joining: Joining, client: KubeClient) -> None:
    node = await make_node(client)
    assert await joining.get(f"/node/{node}") == (200, b"Node found")
    assert await joining.get(f"/node/{unique('n')}") == (404, b"Node not found")


async def test_who_says_nothing_is_cut_off_and_others_are_served(joining: Joining) -> None:
    host, port = joining.url.removeprefix("https://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    assert (await joining.get("/ca.crt"))[0] == 200
    writer.close()


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
