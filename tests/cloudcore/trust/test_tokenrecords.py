"""The records of named tokens. Real: the API server."""

import asyncio
import base64
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.trust import tokenrecord
from cloudcore.trust.tokenrecord import Kept, TokenRecord, Use
from cloudcore.trust.tokenrecords import TokenRecords
from common.errors import RemoteError
from common.names import NodeID
from common.status import failure
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import eventually, unique
from tests.cloudcore.nobody import kubeconfig_of_nobody

pytestmark = pytest.mark.e2e

NAMESPACE = "kubeedge"
NOW = datetime.now(UTC).replace(microsecond=0)
GOOD = TokenRecord(digest="d", expires=NOW + timedelta(hours=1))
STALE = TokenRecord(digest="d", expires=NOW - tokenrecord.KEPT)
USE = Use("n1", NOW, "its key")


@pytest.fixture
async def records(client: KubeClient) -> TokenRecords:
    namespace = {"metadata": {"name": NAMESPACE}}
    with suppress(RemoteError):  # it is there
        await client.create(kinds.NAMESPACES.path(), msgspec.json.encode(namespace))
    return TokenRecords(client)


async def found(records: TokenRecords, name: str) -> Kept:
    kept = await records.find(name)
    assert kept is not None
    return kept


def path_of(name: str) -> str:
    return kinds.SECRETS.path(NAMESPACE, f"edgetoken.{name}")


async def damage(client: KubeClient, name: str) -> None:
    secret: dict[str, Any] = msgspec.json.decode(await client.get(path_of(name)))
    secret["data"]["record"] = base64.b64encode(b"?").decode()
    await client.update(path_of(name), msgspec.json.encode(secret))


async def test_a_record_is_kept_under_a_name_that_no_other_has(records: TokenRecords) -> None:
    name = unique("t")
    assert await records.find(name) is None
    await records.create(name, GOOD)
    assert (await found(records, name)).record == GOOD
    with pytest.raises(RemoteError, match=f"a token {name} already"):
        await records.create(name, STALE)
    assert (await found(records, name)).record == GOOD


async def test_of_two_that_use_a_token_one_is_the_first(records: TokenRecords) -> None:
    name = unique("t")
    await records.create(name, GOOD)
    kept = await found(records, name)
    assert await records.note(kept, USE)
    assert not await records.note(kept, Use("n2", NOW, "another key"))
    assert (await found(records, name)).record.used == USE


async def test_a_use_of_a_record_that_is_gone_is_not_noted(
    records: TokenRecords, client: KubeClient
) -> None:
    name = unique("t")
    await records.create(name, GOOD)
    kept = await found(records, name)
    await client.delete(path_of(name))
    assert not await records.note(kept, USE)
    assert await records.find(name) is None


async def test_a_token_is_revoked_once_and_stays_so_since_then(records: TokenRecords) -> None:
    name = unique("t")
    await records.create(name, GOOD)
    before = await found(records, name)
    assert await records.note(before, USE)
    assert (await records.revoke(name, NOW)).record.used == USE
    assert not await records.note(before, USE), "who has seen it good is too late"
    again = await records.revoke(name, NOW + timedelta(hours=1))
    assert again.record.revoked == (await found(records, name)).record.revoked == NOW
    with pytest.raises(RemoteError, match=r"404.*no token nobody"):
        await records.revoke("nobody", NOW)


async def test_a_token_is_revoked_while_it_is_being_used(
    records: TokenRecords, control_plane: ControlPlane
) -> None:
    name = unique("t")
    await records.create(name, GOOD)

    class Late(KubeClient):
        """Somebody else writes the record before each of our writes, ``times`` times."""

        times = 2

        async def update(self, path: str, body: bytes, *, as_node: NodeID | None = None) -> bytes:
            if self.times:
                self.times -= 1
                await records.note(await found(records, name), Use(unique("n"), NOW, "k"))
            return await super().update(path, body, as_node=as_node)

    async with Late(control_plane.kubeconfig) as client:
        await TokenRecords(client).revoke(name, NOW)
        record = (await found(records, name)).record
        assert record.revoked == NOW
        assert record.used is not None
        assert client.times == 0

    other = unique("t")
    await records.create(other, GOOD)
    name = other
    async with Late(control_plane.kubeconfig) as client:
        client.times = 99
        with pytest.raises(RemoteError, match="written by others"):
            await TokenRecords(client).revoke(other, NOW)


async def test_all_records_are_listed_by_name_however_many_pages_that_takes(
    records: TokenRecords, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudcore.kube.client._PAGE_ITEMS", 2)
    names = [unique(prefix) for prefix in ("c", "a", "b", "d", "e")]
    for name in names:
        await records.create(name, GOOD)
    await damage(client, names[-1])
    listed = await records.list()
    assert [kept.name for kept in listed.records if kept.name in names] == sorted(names[:-1])
    assert any(f"edgetoken.{names[-1]} is damaged, delete it" in fault for fault in listed.faults)
    assert all(kept.name not in ("casecret", "tokensecret") for kept in listed.records)
    with pytest.raises(RemoteError, match=r"500.*damaged, delete it"):
        await records.find(names[-1])
    await client.delete(path_of(names[-1]))


async def test_a_record_is_deleted_a_week_after_its_token_has_expired(
    records: TokenRecords,
) -> None:
    good, stale = unique("t"), unique("t")
    expired = TokenRecord(digest="d", expires=NOW - timedelta(days=6))
    just = unique("t")
    for name, record in ((good, GOOD), (stale, STALE), (just, expired)):
        await records.create(name, record)
    assert await records.clear(NOW) == 1
    assert await records.find(stale) is None
    assert await records.find(just) is not None
    assert (await found(records, good)).record == GOOD


async def test_a_record_that_another_has_cleared_or_made_anew_is_left_alone(
    records: TokenRecords, control_plane: ControlPlane
) -> None:
    gone, anew = unique("t"), unique("t")
    for name in (gone, anew):
        await records.create(name, STALE)

    class Late(KubeClient):
        async def delete(
            self, path: str, body: bytes = b"", *, as_node: NodeID | None = None
        ) -> bytes:
            await super().delete(path)
            if path == path_of(anew):
                await records.create(anew, GOOD)
            return await super().delete(path, body, as_node=as_node)

    async with Late(control_plane.kubeconfig) as client:
        await TokenRecords(client).clear(NOW)
    assert await records.find(gone) is None
    assert (await found(records, anew)).record == GOOD


async def test_records_are_cleared_also_where_the_api_server_is_away_for_a_while(
    records: TokenRecords, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    stale = unique("t")
    await records.create(stale, STALE)

    class Failing(KubeClient):
        failures = 1

        async def get(
            self,
            path: str,
            *,
            params: Mapping[str, str] | None = None,
            as_node: NodeID | None = None,
        ) -> bytes:
            if self.failures:
                self.failures -= 1
                raise RemoteError(failure(503, "away"))
            return await super().get(path, params=params or {}, as_node=as_node)

    async def is_gone() -> bool:
        return await records.find(stale) is None

    async with Failing(control_plane.kubeconfig) as client, asyncio.TaskGroup() as group:
        keeping = group.create_task(TokenRecords(client).keep_clear(lambda: NOW))
        await eventually(is_gone)
        keeping.cancel()
    assert "not cleared" in caplog.text


async def test_a_refusal_of_the_api_server_is_told(tmp_path: Path) -> None:
    async with KubeClient(kubeconfig_of_nobody(tmp_path)) as client:
        nowhere = TokenRecords(client)
        for asked in (
            nowhere.create("t", GOOD),
            nowhere.note(Kept("t", GOOD, "1"), USE),
            nowhere.clear(NOW),
        ):
            with pytest.raises(RemoteError, match="503"):
                await asked
