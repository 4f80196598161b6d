"""What the servers show. Real: the API server, files, TLS. One client's first requests fail."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudcore.cloudhub import credentials
from cloudcore.cloudhub.identity import ServerIdentity, load_identity
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.cluster import read_cluster_uid
from common import pki, tls
from common.errors import ConfigError, RemoteError
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cloudhub.stage import HOST
from tests.cloudcore.cluster import eventually

TOKEN = kinds.SECRETS.path(credentials.NAMESPACE, credentials.TOKEN_SECRET)


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
    monkeypatch.setattr(credentials, "RENEW_WITHIN", pki.SERVER_LIFETIME + timedelta(days=1))
    await identity.load(client)
    after = await shown(identity, context)
    assert after != before
    pki.load_certificate(after).verify_directly_issued_by(identity.authorities.current.certificate)


async def test_it_knows_which_cluster_it_serves(client: KubeClient, tmp_path: Path) -> None:
    identity = await identity_of(client, tmp_path)
    assert identity.cluster == await read_cluster_uid(client)


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
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context:"
        " {cluster: c, user: u}}], clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}],"
        " users: [{name: u, user: {token: t}}]}"
    )
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
