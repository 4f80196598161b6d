"""The simulated API server does what the real one does, as far as cloudcore can tell.

Each test that takes ``api`` runs twice: on the API server in memory, and on the real one.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH, KubeClient
from cloudcore.kube.kinds import ResourceKind
from common.errors import RemoteError
from common.status import Status
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import body, eventually, load, make_namespace, pod_object, unique
from tests.simulation.apiserver import ApiServer
from tests.simulation.apitransport import ApiLink, sim_client

Object = dict[str, Any]


@dataclass(frozen=True)
class Api:
    """An API server, and a namespace of the test's own."""

    client: KubeClient
    namespace: str

    async def make(self, name: str, **data: str) -> Object:
        """Create a ConfigMap."""
        path = kinds.CONFIGMAPS.path(self.namespace)
        made: Object = load(
            await self.client.create(path, body({"metadata": {"name": name}, "data": data}))
        )
        return made

    async def make_pod(self, name: str, node: str = "nowhere") -> Object:
        pod = pod_object(self.namespace, name, node)
        if not node:
            del pod["spec"]["nodeName"]
            # The nodes of other tests are there to be scheduled to, for a moment.
            pod["spec"]["schedulerName"] = "nobody"
        path = kinds.PODS.path(self.namespace)
        made: Object = load(await self.client.create(path, body(pod)))
        return made

    async def get(self, kind: ResourceKind, name: str) -> Object:
        found: Object = load(await self.client.get(kind.path(self.namespace, name)))
        return found

    async def listed(self, kind: ResourceKind, **params: str) -> Object:
        listed: Object = load(await self.client.get(kind.path(self.namespace), params=params))
        return listed

    async def watched(
        self, kind: ResourceKind, version: str, count: int, *, timeout_s: int = 30
    ) -> list[Object]:
        """Return that many events after ``version``; fewer where the watch ends before."""
        params = {"resourceVersion": version, "timeoutSeconds": str(timeout_s)}
        events: list[Object] = []
        async with aclosing(self.client.watch(kind.path(self.namespace), params)) as lines:
            async for line in lines:
                events.append(load(line))
                if len(events) == count:
                    break
        return events


@pytest.fixture(params=["simulated", pytest.param("real", marks=pytest.mark.e2e)])
def kubeconfig(request: pytest.FixtureRequest) -> Path | None:
    """That of the real API server; None for the simulated one."""
    if request.param == "simulated":
        return None
    control_plane: ControlPlane = request.getfixturevalue("control_plane")
    return control_plane.kubeconfig


@pytest.fixture
async def api(kubeconfig: Path | None) -> AsyncIterator[Api]:
    if kubeconfig is None:
        link = ApiLink(ApiServer(asyncio.get_running_loop().time), random.Random(1))
        yield Api(sim_client(link), "default")
    else:
        async with KubeClient(kubeconfig) as client:
            namespace = await make_namespace(client)
            authority = kinds.CONFIGMAPS.path(namespace, "kube-root-ca.crt")
            # The controller manager makes it, which is not to be seen among what a test does.
            await eventually(lambda: _is_there(client, authority))
            yield Api(client, namespace)


async def _is_there(client: KubeClient, path: str) -> bool:
    return await client.find(path) is not None


async def refusal(request: Awaitable[object]) -> Status:
    with pytest.raises(RemoteError) as refused:
        await request
    return refused.value.status


async def test_what_is_created_gets_a_uid_and_a_version_and_its_name_is_taken(api: Api) -> None:
    made = await api.make("c", a="1")
    assert made == await api.get(kinds.CONFIGMAPS, "c")
    assert made["metadata"]["uid"]
    assert made["metadata"]["resourceVersion"].isdecimal()
    status = await refusal(api.make("c"))
    assert (status.code, status.reason) == (409, "AlreadyExists")


async def test_what_does_not_exist_is_not_found(api: Api) -> None:
    status = await refusal(api.get(kinds.CONFIGMAPS, "c"))
    assert (status.code, status.reason, status.is_not_found) == (404, "NotFound", True)


async def test_an_update_of_an_older_version_is_a_conflict(api: Api) -> None:
    old = await api.make("c", a="1")
    path = kinds.CONFIGMAPS.path(api.namespace, "c")
    new = load(await api.client.update(path, body({**old, "data": {"a": "2"}})))
    assert new["data"] == {"a": "2"}
    assert int(new["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"])
    status = await refusal(api.client.update(path, body({**old, "data": {"a": "3"}})))
    assert (status.code, status.reason) == (409, "Conflict")


async def test_a_write_that_changes_nothing_makes_no_version(api: Api) -> None:
    made = await api.make("c", a="1")
    path = kinds.CONFIGMAPS.path(api.namespace, "c")
    assert load(await api.client.update(path, body(made))) == made
    patched = await api.client.patch(path, b'{"data":{"a":"1"}}', content_type=MERGE_PATCH)
    assert load(patched) == made


async def test_a_merge_patch_removes_what_is_null_in_it(api: Api) -> None:
    await api.make("c", a="1", b="2")
    path = kinds.CONFIGMAPS.path(api.namespace, "c")
    change = b'{"data":{"a":null,"c":"3"}}'
    patched = load(await api.client.patch(path, change, content_type=MERGE_PATCH))
    assert patched["data"] == {"b": "2", "c": "3"}


async def test_a_patch_of_a_status_merges_conditions_and_leaves_the_rest(api: Api) -> None:
    pod = await api.make_pod("p")
    path = kinds.PODS.path(api.namespace, "p", "status")

    async def say(kind: str, status: str) -> Object:
        change = {
            "metadata": {"uid": pod["metadata"]["uid"]},
            "spec": {"hostname": "other"},
            "status": {"conditions": [{"type": kind, "status": status}]},
        }
        patched: Object = load(
            await api.client.patch(path, body(change), content_type=STRATEGIC_MERGE_PATCH)
        )
        return patched

    await say("Ready", "False")
    await say("Initialized", "True")
    last = await say("Ready", "True")
    conditions = {one["type"]: one["status"] for one in last["status"]["conditions"]}
    assert conditions.items() >= {"Ready": "True", "Initialized": "True"}.items()
    assert last["spec"] == pod["spec"]
    assert last["metadata"]["generation"] == pod["metadata"]["generation"] == 1


async def test_a_patch_for_another_uid_is_refused_over_that_field(api: Api) -> None:
    await api.make_pod("p")
    path = kinds.PODS.path(api.namespace, "p", "status")
    change = body({"metadata": {"uid": "another"}, "status": {"phase": "Running"}})
    status = await refusal(api.client.patch(path, change, content_type=STRATEGIC_MERGE_PATCH))
    causes = (status.details or {})["causes"]
    assert {one["field"] for one in causes} == {"metadata.uid"}


async def test_a_bound_pod_is_marked_and_goes_only_when_its_node_says_so(api: Api) -> None:
    pod = await api.make_pod("p")
    path = kinds.PODS.path(api.namespace, "p")
    await api.client.delete(path, body({"gracePeriodSeconds": 30}))
    marked = await api.get(kinds.PODS, "p")
    assert marked["metadata"]["deletionTimestamp"]
    assert marked["metadata"]["generation"] == pod["metadata"]["generation"] + 1
    other = body({"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}})
    assert (await refusal(api.client.delete(path, other))).code == 409
    uid = pod["metadata"]["uid"]
    await api.client.delete(path, body({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}))
    assert (await refusal(api.get(kinds.PODS, "p"))).code == 404


async def test_an_unbound_pod_goes_at_once(api: Api) -> None:
    await api.make_pod("p", node="")
    await api.client.delete(kinds.PODS.path(api.namespace, "p"))
    assert (await refusal(api.get(kinds.PODS, "p"))).code == 404


async def test_pages_of_a_list_are_of_one_moment(api: Api) -> None:
    made = [await api.make(unique("c")) for _ in range(5)]
    first = await api.listed(kinds.CONFIGMAPS, limit="2")
    await api.make("zz-later")
    pages, page = [first], first
    while more := page["metadata"].get("continue"):
        page = await api.listed(kinds.CONFIGMAPS, **{"limit": "2", "continue": more})
        pages.append(page)
    names = {item["metadata"]["name"] for page in pages for item in page["items"]}
    assert {one["metadata"]["name"] for one in made} <= names
    assert "zz-later" not in names
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1


async def test_items_of_a_list_do_not_say_their_kind_and_single_objects_do(api: Api) -> None:
    await api.make("c")
    (item,) = [
        one
        for one in (await api.listed(kinds.CONFIGMAPS))["items"]
        if one["metadata"]["name"] == "c"
    ]
    assert "kind" not in item
    text = await api.client.get(kinds.CONFIGMAPS.path(api.namespace, "c"))
    assert text.startswith(b'{"kind":"ConfigMap","apiVersion":"v1","metadata":')


async def test_pods_are_listed_by_their_node(api: Api) -> None:
    await api.make_pod("p", "here")
    await api.make_pod("q", "there")
    listed = await api.listed(kinds.PODS, fieldSelector="spec.nodeName=here")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["p"]


async def test_a_watch_tells_what_happens_after_its_version(api: Api) -> None:
    await api.make("before")
    since = (await api.listed(kinds.CONFIGMAPS))["metadata"]["resourceVersion"]
    await api.make("c", a="1")
    path = kinds.CONFIGMAPS.path(api.namespace, "c")
    await api.client.patch(path, b'{"data":{"a":"2"}}', content_type=MERGE_PATCH)
    await api.client.delete(path)
    events = await api.watched(kinds.CONFIGMAPS, since, 3)
    assert [one["type"] for one in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert {one["object"]["kind"] for one in events} == {"ConfigMap"}
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)
    assert events[2]["object"]["data"] == {"a": "2"}


async def test_one_sequence_numbers_all_kinds(api: Api) -> None:
    configmap = await api.make("c")
    pod = await api.make_pod("p")
    again = await api.make("d")
    versions = [int(one["metadata"]["resourceVersion"]) for one in (configmap, pod, again)]
    assert versions == sorted(set(versions))


async def test_a_watch_from_a_version_to_come_misses_what_is_before_it(api: Api) -> None:
    since = (await api.listed(kinds.CONFIGMAPS))["metadata"]["resourceVersion"]
    async with asyncio.TaskGroup() as group:
        ahead = str(int(since) + 1_000_000)
        watching = group.create_task(api.watched(kinds.CONFIGMAPS, ahead, 1, timeout_s=2))
        await api.make("c")
    assert watching.result() == []


async def test_after_a_compaction_older_watches_and_lists_begin_anew() -> None:
    """The real one cannot be hurried to it; what it says then is in ``test_listwatch``."""
    server = ApiServer(asyncio.get_running_loop().time)
    api = Api(sim_client(ApiLink(server, random.Random(1))), "default")
    for name in ("a", "b"):
        await api.make(name)
    page = await api.listed(kinds.CONFIGMAPS, limit="1")
    server.compact()
    (event,) = await api.watched(kinds.CONFIGMAPS, "100", 1)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    more = {"limit": "1", "continue": page["metadata"]["continue"]}
    assert (await refusal(api.listed(kinds.CONFIGMAPS, **more))).code == 410


async def test_a_restored_one_counts_from_where_it_was() -> None:
    server = ApiServer(asyncio.get_running_loop().time)
    api = Api(sim_client(ApiLink(server, random.Random(1))), "default")
    old = await api.make("a")
    backup = server.snapshot()
    await api.make("b")
    server.restore(backup)
    assert await api.get(kinds.CONFIGMAPS, "a") == old
    assert (await refusal(api.get(kinds.CONFIGMAPS, "b"))).is_not_found
    again = await api.make("c")
    assert int(again["metadata"]["resourceVersion"]) == backup.revision + 1
