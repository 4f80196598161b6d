"""Objects from the cache where they are kept, else from the API server.

Real: API server. The caches are filled by hand.
"""

import asyncio

import msgspec
import pytest

from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube import kinds
from cloudcore.kube.client import KubeClient
from cloudcore.kube.listwatch import ObjectChanged, ObjectDeleted, RawObject
from cloudcore.kube.views import ObjectKey, ObjectView, view_as
from common.errors import RemoteError
from common.names import UID, NodeID, ResourceType
from common.podrefs import PodRefs
from tests.cloudcore.cluster import body

CONFIGMAP = ResourceType.CONFIGMAP


def state_naming(key: ObjectKey) -> ClusterState:
    locations, node = LocationCache(), NodeID("n1")
    locations.set_node(node, NodeLocation(UID("u")))
    refs = PodRefs(configmaps=frozenset({key.name}))
    locations.set_pod(ObjectKey(key.namespace, "pod"), PodLocation(UID("p"), node, refs))
    return ClusterState(locations)


async def test_what_is_fetched_is_kept_if_a_pod_names_it(
    client: KubeClient, namespace: str
) -> None:
    key = ObjectKey(namespace, "conf")
    made = await client.create(
        kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "conf"}})
    )
    known = RawObject(view_as(made, ObjectView), msgspec.Raw(made))
    for state, kept in ((state_naming(key), True), (ClusterState(LocationCache()), False)):
        state.configmaps.cache.apply(ObjectChanged(known))
        state.configmaps.cache.drop(key)
        reader = ObjectReader(client, state)
        one = await reader.read(CONFIGMAP, key)
        assert one.view.metadata.uid == known.view.metadata.uid
        assert (state.configmaps.cache.get(key) is one) is kept
        assert (await reader.read(CONFIGMAP, key) is one) is kept


async def test_one_request_serves_all_that_wait(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, requests = ObjectKey(namespace, "conf"), list[str]()
    made = await client.create(
        kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "conf"}})
    )
    state = state_naming(key)
    state.configmaps.cache.apply(
        ObjectChanged(RawObject(view_as(made, ObjectView), msgspec.Raw(made)))
    )
    state.configmaps.cache.drop(key)
    get = client.get

    async def counted(path: str) -> bytes:
        requests.append(path)
        return await get(path)

    monkeypatch.setattr(client, "get", counted)
    reader = ObjectReader(client, state)
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(reader.read(CONFIGMAP, key))
    assert requests == [kinds.CONFIGMAPS.path(*key)]
    assert not reader._turns


async def test_what_does_not_exist_is_a_404_and_the_cloud_away_is_a_503(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ObjectReader(client, ClusterState(LocationCache()))
    with pytest.raises(RemoteError) as missing:
        await reader.read(CONFIGMAP, ObjectKey(namespace, "none"))
    assert missing.value.status.details == {"name": "none", "kind": "configmap"}
    monkeypatch.setattr(client._transport._configuration, "host", "https://127.0.0.1:1")
    with pytest.raises(RemoteError) as away:
        await reader.read(CONFIGMAP, ObjectKey(namespace, "none"))
    assert away.value.status.code == 503


def one(version: int, *, uid: str = "u") -> RawObject:
    metadata = {"name": "conf", "namespace": "ns", "uid": uid, "resourceVersion": str(version)}
    raw = body({"metadata": metadata})
    return RawObject(view_as(raw, ObjectView), msgspec.Raw(raw))


def test_what_was_overtaken_while_it_was_fetched_gives_way_to_what_is_known(
    client: KubeClient,
) -> None:
    state = state_naming(ObjectKey("ns", "conf"))
    followed, reader = state.configmaps, ObjectReader(client, state)
    fetched = one(7)
    assert reader.newest(followed, fetched) is fetched  # the stream is not as far
    for version, expected in ((5, fetched), (7, fetched), (9, one(9))):
        followed.cache.apply(ObjectChanged(one(version)))
        assert reader.newest(followed, fetched) == expected
    followed.cache.apply(ObjectDeleted(one(10)))
    assert reader.newest(followed, fetched) is None
    assert reader.newest(followed, one(11, uid="new")) is not None


async def test_what_was_deleted_while_it_was_fetched_is_not_found(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ObjectKey(namespace, "conf")
    made = await client.create(
        kinds.CONFIGMAPS.path(namespace), body({"metadata": {"name": "conf"}})
    )
    known = RawObject(view_as(made, ObjectView), msgspec.Raw(made))
    state, get = state_naming(key), client.get
    state.configmaps.cache.apply(ObjectChanged(known))
    state.configmaps.cache.drop(key)

    async def slow(path: str) -> bytes:
        answer = await get(path)
        state.configmaps.cache.apply(ObjectDeleted(known))
        return answer

    monkeypatch.setattr(client, "get", slow)
    with pytest.raises(RemoteError) as missing:
        await ObjectReader(client, state).read(CONFIGMAP, key)
    assert missing.value.status.is_not_found
