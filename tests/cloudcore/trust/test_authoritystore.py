"""An authority follows another one. Real: the API server, this module's own, and cryptography."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import authoritystore, keptsecrets
from cloudcore.trust.authoritystore import CA_SECRET, RotationError
from common import issuing, pki
from common.errors import CertificateError, RemoteError
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PATH = kinds.SECRETS.path(keptsecrets.NAMESPACE, CA_SECRET)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster without an authority."""
    async with KubeClient(own_api.kubeconfig) as client:
        with suppress(RemoteError):  # not there
            await client.delete(PATH)
        yield client


async def test_the_authority_is_made_once_and_kept_as_kubeedge_keeps_it(api: KubeClient) -> None:
    made = (await authoritystore.load_authorities(api, NOW)).current
    assert await data_of(api) == {"cadata": made.der, "cakeydata": pki.key_to_der(made.key)}
    assert (await authoritystore.load_authorities(api, NOW)).current.der == made.der


async def test_cloudcores_that_start_at_once_share_one_authority(api: KubeClient) -> None:
    async with asyncio.TaskGroup() as group:
        loads = [group.create_task(authoritystore.load_authorities(api, NOW)) for _ in range(8)]
    assert len({load.result().current.der for load in loads}) == 1


async def data_of(api: KubeClient) -> dict[str, bytes]:
    found = await keptsecrets.read(api, CA_SECRET)
    return {} if found is None else found.data


async def test_where_there_is_none_one_is_made_only_when_that_is_asked_for(
    api: KubeClient,
) -> None:
    assert await authoritystore.find_authorities(api) is None
    made = await authoritystore.load_authorities(api, NOW)
    assert made.trusted == (made.current,)
    found = await authoritystore.find_authorities(api)
    assert found is not None
    assert found.pem == made.pem


async def test_the_one_that_is_replaced_is_kept_until_the_end(api: KubeClient) -> None:
    old = (await authoritystore.load_authorities(api, NOW)).current
    both = await authoritystore.rotate(api, NOW)
    assert both.previous is not None
    assert both.previous.der == old.der
    assert await data_of(api) == {
        "cadata": both.current.der,
        "cakeydata": pki.key_to_der(both.current.key),
        "previousdata": old.der,
        "previouskeydata": pki.key_to_der(old.key),
        "crossdata": both.cross,
    }
    again = await authoritystore.load_authorities(api, NOW)
    assert (again.pem, again.cross) == (both.pem, both.cross)
    await authoritystore.finish(api, both.fingerprint)
    assert await data_of(api) == {
        "cadata": both.current.der,
        "cakeydata": pki.key_to_der(both.current.key),
    }


async def test_an_authority_is_replaced_as_often_as_one_likes(api: KubeClient) -> None:
    seen = {(await authoritystore.load_authorities(api, NOW)).fingerprint}
    for _ in range(3):
        both = await authoritystore.rotate(api, NOW)
        await authoritystore.finish(api, both.fingerprint)
        seen.add(both.fingerprint)
    assert len(seen) == 4


async def test_of_two_who_rotate_at_one_moment_one_succeeds_and_the_other_is_told(
    api: KubeClient,
) -> None:
    before = await authoritystore.load_authorities(api, NOW)
    async with asyncio.TaskGroup() as group:
        tries = [group.create_task(outcome_of_rotate(api)) for _ in range(4)]
    told = [one.result() for one in tries if one.result()]
    assert len(told) == 3
    assert all("cloudcore ca status" in text for text in told)
    after = await authoritystore.load_authorities(api, NOW)
    assert after.previous is not None
    assert after.previous.der == before.current.der


async def outcome_of_rotate(api: KubeClient) -> str:
    try:
        await authoritystore.rotate(api, NOW)
    except RotationError as error:
        return str(error)
    return ""


async def test_who_is_overtaken_between_reading_and_writing_is_told(
    api: KubeClient, own_api: ControlPlane
) -> None:
    await authoritystore.load_authorities(api, NOW)

    class Late(KubeClient):
        async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
            await authoritystore.rotate(api, NOW)
            return await super().update(path, body, as_node=as_node)

    async with Late(own_api.kubeconfig) as late:
        with pytest.raises(RotationError, match="at this moment"):
            await authoritystore.rotate(late, NOW)


async def test_what_cannot_be_done_now_is_refused_with_the_reason(api: KubeClient) -> None:
    with pytest.raises(RotationError, match="no authority yet"):
        await authoritystore.rotate(api, NOW)
    only = await authoritystore.load_authorities(api, NOW)
    with pytest.raises(RotationError, match="cloudcore ca rotate"):
        await authoritystore.finish(api, only.fingerprint)
    await authoritystore.rotate(api, NOW)
    with pytest.raises(RotationError, match="cloudcore ca finish"):
        await authoritystore.rotate(api, NOW)
    with pytest.raises(RotationError, match="at this moment"):
        await authoritystore.finish(api, only.fingerprint)


@pytest.mark.parametrize("key", ["cadata", "cakeydata", "previousdata", "previouskeydata"])
async def test_a_damaged_part_is_reported_and_never_replaced(api: KubeClient, key: str) -> None:
    await authoritystore.load_authorities(api, NOW)
    await authoritystore.rotate(api, NOW)
    for useless in (b"", b"damaged"):
        await spoil(api, key, useless)
        before = await data_of(api)
        with pytest.raises(CertificateError, match="kubeedge/casecret"):
            await authoritystore.load_authorities(api, NOW)
        with pytest.raises(CertificateError, match="kubeedge/casecret"):
            await authoritystore.find_authorities(api)
        assert await data_of(api) == before


async def test_a_chain_that_would_convince_nobody_is_reported(api: KubeClient) -> None:
    await authoritystore.load_authorities(api, NOW)
    await authoritystore.rotate(api, NOW)
    other = issuing.next_authority(NOW)
    for useless in (b"", other.der):
        await spoil(api, "crossdata", useless)
        with pytest.raises(CertificateError, match="kubeedge/casecret"):
            await authoritystore.load_authorities(api, NOW)


async def spoil(api: KubeClient, key: str, value: bytes) -> None:
    secret: dict[str, Any] = msgspec.json.decode(await api.get(PATH))
    secret["data"][key] = base64.b64encode(value).decode()
    await api.update(PATH, msgspec.json.encode(secret))
