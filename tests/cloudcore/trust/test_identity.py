"""What the servers show. Real: the API server, files, TLS. One client's first requests fail."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from cloudcore.trust import authoritystore, credentials, keptsecrets
from cloudcore.trust.authorities import Authorities
from cloudcore.trust.identity import ServerIdentity, load_identity
from common import issuing, pki, subjects, tls
from common.errors import ConfigError, RemoteError
from common.files import write_private
from common.names import NodeID
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cloudhub.stage import HOST
from tests.cloudcore.cluster import eventually
from tests.cloudcore.nobody import kubeconfig_of_nobody

TOKEN = kinds.SECRETS.path(keptsecrets.NAMESPACE, credentials.TOKEN_SECRET)


class Flaky(KubeClient):
    """A client whose next writes fail."""

    failures = 0

    async def create(self, path: str, body: bytes, **options: Any) -> bytes:
        self._fail()
        return await super().create(path, body, **options)

    async def update(self, path: str, body: bytes, **options: Any) -> bytes:
        self._fail()
        return await super().update(path, body, **options)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RemoteError(failure(503, "away for the moment"))


async def identity_of(client: KubeClient, folder: Path) -> ServerIdentity:
    identity = await load_identity(client, [HOST], folder, asyncio.Event())
    assert identity is not None
    return identity


async def shown(identity: ServerIdentity, context: Callable[[], ssl.SSLContext]) -> bytes:
    """Return the certificate that a server with ``context`` shows."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0, ssl=context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        client = tls.client_context(identity.authorities.current.pem)
        _, writer = await asyncio.open_connection(HOST, port, ssl=client)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert isinstance(der, bytes)
        return der


async def test_a_renewed_certificate_is_shown_to_whoever_connects_next(
    client: KubeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = await identity_of(client, tmp_path)
    context = identity.context(ssl.CERT_OPTIONAL)
    before = await shown(identity, context)
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    # As if the certificate had come near its end.
    monkeypatch.setattr(credentials, "RENEW_WITHIN", issuing.SERVER_LIFETIME + timedelta(days=1))
    await identity.load(client)
    after = await shown(identity, context)
    assert after != before
    pki.load_certificate(after).verify_directly_issued_by(identity.authorities.current.certificate)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster that has neither an authority nor a server's certificate."""
    async with KubeClient(own_api.kubeconfig) as client:
        for name in (authoritystore.CA_SECRET, credentials.SERVER_SECRET):
            with suppress(RemoteError):  # not there
                await client.delete(kinds.SECRETS.path(keptsecrets.NAMESPACE, name))
        yield client


@asynccontextmanager
async def kept(identity: ServerIdentity, client: KubeClient) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(identity.keep(client))
        yield
        keeping.cancel()


@dataclass(frozen=True)
class Edges:
    """What edges have on their disks: certificates by one authority, and others that they trust."""

    folder: Path
    identity: ServerIdentity

    async def is_served(self, signer: issuing.Authority, *trusted: issuing.Authority) -> bool:
        """Whether an edge and the server believe each other, as the server is now."""
        key, node = pki.new_key(), NodeID("n1")
        issued = issuing.issue_node(signer, subjects.new_csr(key, node), node, datetime.now(UTC))
        file = self.folder / "node.pem"
        write_private(file, pki.cert_to_pem(issued.der).encode() + pki.key_to_pem(key))
        client = tls.client_context("".join(authority.pem for authority in trusted), file)
        server = await asyncio.start_server(
            _greet, HOST, 0, ssl=self.identity.context(ssl.CERT_REQUIRED)()
        )
        async with server:
            port = server.sockets[0].getsockname()[1]
            try:
                reader, writer = await asyncio.open_connection(HOST, port, ssl=client)
                # In TLS 1.3 a client learns by this only whether its certificate is accepted.
                greeting = await reader.read()
            except ssl.SSLError:
                return False
            writer.close()
            return greeting == b"hello"


def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    writer.close()


@pytest.mark.both_loops
async def test_a_rotation_is_taken_over_and_leaves_no_edge_behind(
    api: KubeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudcore.trust.identity.LOOK_S", 0.05)
    identity = await identity_of(api, tmp_path)
    edges, old = Edges(tmp_path, identity), identity.authorities.current
    left: list[Authorities] = []
    identity.report(left.append)
    assert await edges.is_served(old, old)

    async def is_taken_over() -> bool:
        return identity.authorities.fingerprint == wanted.fingerprint

    async def is_alone() -> bool:
        return identity.authorities.previous is None and bool(left)

    async with kept(identity, api):
        wanted = await authoritystore.rotate(api, datetime.now(UTC))
        await eventually(is_taken_over)
        new = wanted.current
        for signer in (old, new):
            assert await edges.is_served(signer, old), "it has heard of nothing"
            assert await edges.is_served(signer, new)
            assert await edges.is_served(signer, new, old)
        assert not await edges.is_served(issuing.new_authority(datetime.now(UTC)), old)
        assert not await edges.is_served(new, issuing.new_authority(datetime.now(UTC)))
        assert left == [], "nothing is given up yet"

        await authoritystore.finish(api, wanted.fingerprint)
        await eventually(is_alone)
        assert [one.trusted for one in left] == [identity.authorities.trusted]
        assert await edges.is_served(new, new)
        assert await edges.is_served(new, new, old)
        assert not await edges.is_served(new, old)
        assert not await edges.is_served(old, new)
    token = await credentials.publish_token(api, new, datetime.now(UTC))
    assert token.startswith(f"{wanted.fingerprint}.")


async def test_another_cloudcore_shows_the_certificate_that_the_first_has_made(
    api: KubeClient, tmp_path: Path
) -> None:
    first = await identity_of(api, tmp_path / "1")
    second = await load_identity(api, ["other.example"], tmp_path / "2", asyncio.Event())
    assert second is not None
    await authoritystore.rotate(api, datetime.now(UTC))
    await first.load(api)
    await second.load(api)
    ders = [await shown(one, one.context(ssl.CERT_OPTIONAL)) for one in (first, second)]
    assert ders[0] == ders[1]
    assert pki.server_hosts(pki.load_certificate(ders[0])) == {HOST, "other.example"}


async def test_other_hosts_are_shown_at_once_and_those_that_are_not_wanted_go(
    api: KubeClient, tmp_path: Path
) -> None:
    identity = await load_identity(api, [HOST, "old.example"], tmp_path, asyncio.Event())
    assert identity is not None
    context = identity.context(ssl.CERT_OPTIONAL)

    async def hosts() -> frozenset[str]:
        return pki.server_hosts(pki.load_certificate(await shown(identity, context)))

    async def is_renamed() -> bool:
        return await hosts() == {HOST, "new.example"}

    assert await hosts() == {HOST, "old.example"}
    async with kept(identity, api):
        identity.rename([HOST, "new.example"])
        await eventually(is_renamed)


async def test_an_authority_that_is_gone_or_damaged_is_used_on_and_not_replaced(
    api: KubeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("cloudcore.trust.identity.LOOK_S", 0.05)
    identity = await identity_of(api, tmp_path)
    only, path = identity.authorities, kinds.SECRETS.path(keptsecrets.NAMESPACE, "casecret")
    kept_secret = await keptsecrets.read(api, authoritystore.CA_SECRET)
    assert kept_secret is not None

    async def tells_of(words: str) -> bool:
        return any(words in str(record.__dict__.get("error")) for record in caplog.records)

    async with kept(identity, api):
        await api.delete(path)
        await eventually(lambda: tells_of("is gone: restore it"))
        assert await keptsecrets.read(api, authoritystore.CA_SECRET) is None
        await keptsecrets.write(api, authoritystore.CA_SECRET, {"cadata": b"damaged"}, None)
        await eventually(lambda: tells_of("cannot be used"))
    assert identity.authorities == only


async def test_it_knows_which_cluster_it_serves(client: KubeClient, tmp_path: Path) -> None:
    identity = await identity_of(client, tmp_path)
    assert identity.cluster == await read_cluster_uid(client)


async def test_where_plain_tokens_are_not_taken_none_is_kept(
    api: KubeClient, tmp_path: Path
) -> None:
    identity = await identity_of(api, tmp_path)
    with suppress(RemoteError):  # there is none
        await api.delete(TOKEN)
    server = kinds.SECRETS.path(keptsecrets.NAMESPACE, credentials.SERVER_SECRET)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(identity.keep(api, plain_tokens=False))
        for name in ("one.example", "two.example"):  # by the second time, the first is over
            before = await api.get(server)

            async def is_renewed(before: bytes = before) -> bool:
                return await api.get(server) != before

            identity.rename([HOST, name])
            await eventually(is_renewed)
        assert await api.find(TOKEN) is None
        keeping.cancel()


async def test_a_token_that_could_not_be_renewed_is_renewed_later(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    async with Flaky(control_plane.kubeconfig) as client:
        identity = await identity_of(client, tmp_path)
        with suppress(RemoteError):  # there is none yet
            await client.delete(TOKEN)
        await credentials.publish_token(
            client, identity.authorities.current, datetime.now(UTC) - timedelta(hours=12)
        )
        stale = await client.get(TOKEN)
        client.failures = 2
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(identity.keep(client))

            async def is_renewed() -> bool:
                return await client.get(TOKEN) != stale

            await eventually(is_renewed)
            assert client.failures == 0
            keeping.cancel()


async def test_a_stop_is_not_kept_waiting_by_an_api_server_that_is_away(tmp_path: Path) -> None:
    kubeconfig = kubeconfig_of_nobody(tmp_path)
    stop = asyncio.Event()
    async with KubeClient(kubeconfig) as client, asyncio.TaskGroup() as group:
        loading = group.create_task(load_identity(client, [HOST], tmp_path, stop))
        await asyncio.sleep(0)
        stop.set()
    assert loading.result() is None


async def test_a_folder_that_cannot_be_written_is_named(client: KubeClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigError, match="--data-dir"):
        await load_identity(client, [HOST], tmp_path / "file" / "data", asyncio.Event())


async def test_a_host_that_cannot_stand_in_a_certificate_is_named(
    client: KubeClient, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="host name"):
        await load_identity(client, ["cl\u00f6ud"], tmp_path, asyncio.Event())
