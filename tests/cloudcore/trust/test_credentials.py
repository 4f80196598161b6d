"""The Secrets that all cloudcores share. Real: an API server of this module's own, since the tests
damage what a cluster has one of.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore, credentials, keptsecrets, tokens
from cloudcore.trust.authorities import Authorities
from common import issuing, pki, tls
from common.errors import RemoteError
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import unique

pytestmark = pytest.mark.e2e

NOW = datetime.now(UTC)
NAMES = (authoritystore.CA_SECRET, credentials.SERVER_SECRET, credentials.TOKEN_SECRET)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster that has none of the Secrets."""
    async with KubeClient(own_api.kubeconfig) as client:
        for name in NAMES:
            with suppress(RemoteError):  # not there
                await client.delete(kinds.SECRETS.path(keptsecrets.NAMESPACE, name))
        yield client


async def data_of(api: KubeClient, name: str) -> dict[str, bytes]:
    body = await api.get(kinds.SECRETS.path(keptsecrets.NAMESPACE, name))
    secret: dict[str, Any] = msgspec.json.decode(body)
    assert secret["type"] == "Opaque"
    return {key: base64.b64decode(value) for key, value in secret["data"].items()}


async def authority_of(api: KubeClient) -> issuing.Authority:
    return (await authoritystore.load_authorities(api, NOW)).current


async def test_the_server_certificate_is_kept_as_long_as_it_serves(
    api: KubeClient, tmp_path: Path
) -> None:
    authority = await authority_of(api)
    hosts = ["192.0.2.1", "0:0:0:0:0:0:0:1", "cloud.example"]
    certificate, key = await credentials.load_server(api, Authorities(authority), hosts, NOW)
    data = await data_of(api, credentials.SERVER_SECRET)
    assert data["cloudcoredata"] == certificate.public_bytes(Encoding.DER)
    assert data["cloudcorekeydata"] == pki.key_to_der(key)
    again, _ = await credentials.load_server(api, Authorities(authority), hosts[:2], NOW)
    assert again == certificate, "it has all the hosts that are asked for"
    files = credentials.write_server_files(tmp_path, certificate, key)
    tls.server_context(*files, client_ca_pem=authority.pem)


async def test_a_replica_with_another_address_joins_the_certificate(api: KubeClient) -> None:
    authority = await authority_of(api)
    await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], NOW)
    both, _ = await credentials.load_server(api, Authorities(authority), ["192.0.2.2"], NOW)
    assert pki.server_hosts(both) == {"192.0.2.1", "192.0.2.2"}
    first, _ = await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], NOW)
    assert first == both, "the two do not take turns"


async def test_a_server_certificate_is_renewed_in_time(api: KubeClient) -> None:
    authority = await authority_of(api)
    first, _ = await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], NOW)
    late = first.not_valid_after_utc - credentials.RENEW_WITHIN
    kept, _ = await credentials.load_server(
        api, Authorities(authority), ["192.0.2.1"], late - timedelta(seconds=1)
    )
    assert kept == first
    renewed, _ = await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], late)
    assert renewed != first
    assert renewed.not_valid_after_utc > first.not_valid_after_utc


async def test_a_server_certificate_of_another_authority_is_replaced(api: KubeClient) -> None:
    other = issuing.new_authority(NOW)
    stale, _ = await credentials.load_server(api, Authorities(other), ["192.0.2.1"], NOW)
    authority = await authority_of(api)
    fresh, _ = await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], NOW)
    assert fresh != stale
    fresh.verify_directly_issued_by(authority.certificate)


async def test_cloudcores_that_start_at_once_share_one_certificate_for_all_their_hosts(
    api: KubeClient,
) -> None:
    authority = await authority_of(api)
    hosts = [f"192.0.2.{number}" for number in range(1, 6)]
    async with asyncio.TaskGroup() as group:
        for host in hosts:
            group.create_task(credentials.load_server(api, Authorities(authority), [host], NOW))
    kept = [
        await credentials.load_server(api, Authorities(authority), [host], NOW) for host in hosts
    ]
    assert len({certificate.serial_number for certificate, _ in kept}) == 1
    assert pki.server_hosts(kept[0][0]) == set(hosts)


async def test_the_token_is_where_kubeedges_tools_look_for_it(api: KubeClient) -> None:
    authority = await authority_of(api)
    token = await credentials.publish_token(api, authority, NOW)
    assert await data_of(api, credentials.TOKEN_SECRET) == {"tokendata": token.encode()}
    later = NOW + timedelta(hours=12)
    newer = await credentials.publish_token(api, authority, later)
    assert await data_of(api, credentials.TOKEN_SECRET) == {"tokendata": newer.encode()}
    tokens.check_token(authority, token.partition(".")[2], later)  # the older one is still good


async def test_cloudcores_share_one_token_until_it_is_time_for_another(api: KubeClient) -> None:
    authority = await authority_of(api)
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(credentials.publish_token(api, authority, NOW)) for _ in range(5)]
    (token,) = {one.result() for one in made}
    soon = NOW + tokens.LIFETIME - credentials.TOKEN_LASTS
    assert await credentials.publish_token(api, authority, soon - timedelta(seconds=2)) == token
    assert await credentials.publish_token(api, authority, soon + timedelta(seconds=2)) != token


async def test_a_token_that_does_not_serve_is_replaced(api: KubeClient) -> None:
    authority = await authority_of(api)
    path = kinds.SECRETS.path(keptsecrets.NAMESPACE, credentials.TOKEN_SECRET)
    other = tokens.new_token(issuing.new_authority(NOW), NOW)
    bound = tokens.new_token(authority, NOW, node="n1")
    named = tokens.new_named_token(authority, NOW + timedelta(days=9), "t", "id")
    for useless in ("", "damaged", other, bound, named):
        await credentials.publish_token(api, authority, NOW)
        secret: dict[str, Any] = msgspec.json.decode(await api.get(path))
        secret["data"]["tokendata"] = base64.b64encode(useless.encode()).decode()
        await api.update(path, msgspec.json.encode(secret))
        token = await credentials.publish_token(api, authority, NOW)
        tokens.check_token(authority, token.partition(".")[2], NOW)
        assert token not in (useless, "")


async def test_who_is_always_late_gives_up_and_says_so(
    api: KubeClient, own_api: ControlPlane
) -> None:
    authority = await authority_of(api)
    await credentials.publish_token(api, authority, NOW)
    await credentials.load_server(api, Authorities(authority), ["192.0.2.1"], NOW)

    async def touch(name: str) -> None:
        path = kinds.SECRETS.path(keptsecrets.NAMESPACE, name)
        secret: dict[str, Any] = msgspec.json.decode(await api.get(path))
        secret["metadata"]["annotations"] = {"touched": unique("x")}
        await api.update(path, msgspec.json.encode(secret))

    class Late(KubeClient):
        async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
            await touch(path.rpartition("/")[2])
            return await super().update(path, body, as_node=as_node)

    late = NOW + timedelta(days=400)
    async with Late(own_api.kubeconfig) as client:
        with pytest.raises(RemoteError, match="tokensecret is written by others"):
            await credentials.publish_token(client, authority, late)
        with pytest.raises(RemoteError, match="cloudcoresecret is written by others"):
            await credentials.load_server(client, Authorities(authority), ["192.0.2.2"], late)


async def test_a_secret_that_is_deleted_meanwhile_is_made_again(
    api: KubeClient, own_api: ControlPlane
) -> None:
    authority = await authority_of(api)
    await credentials.publish_token(api, authority, NOW)

    class Deleting(KubeClient):
        async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
            await self.delete(path)
            return await super().update(path, body, as_node=as_node)

    async with Deleting(own_api.kubeconfig) as client:
        later = NOW + timedelta(hours=12)
        token = await credentials.publish_token(client, authority, later)
    assert await data_of(api, credentials.TOKEN_SECRET) == {"tokendata": token.encode()}
