"""Offline for longer than pods are tolerated: who is evicted, who is not, and what a return finds.

Real: a control plane of the test's own, whose controllers taint nodes, evict pods and make others,
with short times; cloudcore and edgecores as processes, the pods' processes. Proxies cut the links.
"""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloudcore.edgecontroller.autonomy import AUTONOMY
from deploy.devcluster.api import Api, Object
from deploy.devcluster.commands import Component, NodeMonitor
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore, process_with
from deploy.devcluster.site import Edge, is_ready, name_of, restarts, until
from tests.e2e.conftest import Join

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

GIVEN_UP_S = 25
"""The grace period of nodes: a machine that is busy must not miss it."""

TOLERATED_S = 10
"""What pods get by default."""

PATIENCE_S = 120.0
UNREACHABLE = "node.kubernetes.io/unreachable"
REPLICAS = 2


@pytest.fixture
async def control_plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    """One that gives nodes up, and has pods evicted, soon."""
    tolerations = [
        f"--default-{taint}-toleration-seconds={TOLERATED_S}"
        for taint in ("not-ready", "unreachable")
    ]
    # By default nothing is evicted where most nodes of few are away, and a node in ten seconds.
    evictions = ("--unhealthy-zone-threshold=1", "--node-eviction-rate=10")
    async with ControlPlane(
        tmp_path / "control-plane",
        node_monitor=NodeMonitor(period_s=1, grace_period_s=GIVEN_UP_S),
        extra_args={
            Component.API_SERVER: tolerations,
            Component.CONTROLLER_MANAGER: evictions,
        },
    ) as running:
        yield running


@pytest.fixture
async def cloud(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[CloudCore]:
    options = (f"--default-toleration-s={TOLERATED_S}",)
    daemon = CloudCore(control_plane, tmp_path / "cloudcore", options=options)
    await daemon.start()
    yield daemon
    await daemon.stop()


class Shop:
    """Deployments in a namespace, each on the nodes with a label of its own."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.base = api, f"/api/v1/namespaces/{namespace}"
        self._deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    async def site(self, edge: Edge, site: str) -> None:
        """Let the pods of a deployment run on that edge too."""
        await self.api.patch(
            f"/api/v1/nodes/{edge.daemon.node}", {"metadata": {"labels": {"site": site}}}
        )

    async def says(self, edge: Edge, autonomy: str) -> None:
        path = f"/api/v1/nodes/{edge.daemon.node}"
        await self.api.patch(path, {"metadata": {"annotations": {AUTONOMY: autonomy}}})

    async def deploy(self, site: str) -> list[Object]:
        """Run pods that know their own UID, and return them when they are ready."""
        who = {"name": "MARK", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
        command = ["/bin/sh", "-c", "while true; do sleep 0.1; done"]
        spec = {
            "nodeSelector": {"site": site},
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "busybox", "command": command, "env": [who]}],
        }
        labels = {"app": site}
        await self.api.create(
            self._deployments,
            {
                "metadata": {"name": site},
                "spec": {
                    "replicas": REPLICAS,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": spec},
                },
            },
        )
        await self.until(site, lambda pods: len(pods) == REPLICAS and all(map(is_ready, pods)))
        return await self.pods(site)

    async def pods(self, site: str) -> list[Object]:
        found = await self.api.items(f"{self.base}/pods?labelSelector=app={site}")
        return sorted(found, key=uid)

    async def until(self, site: str, hold: Callable[[list[Object]], bool]) -> None:
        await self.api.wait(
            f"{self.base}/pods?labelSelector=app={site}",
            lambda found: found is not None and hold(found["items"]),
            f"the pods of {site}",
            timeout_s=PATIENCE_S,
        )

    async def tell_of_cancelling(self, pod: Object) -> None:
        """Return when the eviction of ``pod`` was called off."""

        def is_told(found: Object | None) -> bool:
            return any(
                one["message"].startswith("Cancelling deletion of Pod")
                and one["involvedObject"]["name"] == name_of(pod)
                for one in (found or {}).get("items", [])
            )

        await self.api.wait(
            f"{self.base}/events", is_told, "it is called off", timeout_s=PATIENCE_S
        )

    async def until_unreachable(self, edge: Edge, seconds: float) -> None:
        """Return when the node has had the taint that evicts for that long."""

        def is_so(found: Object | None) -> bool:
            assert found is not None
            added = [
                datetime.fromisoformat(one["timeAdded"])
                for one in found["spec"].get("taints", [])
                if (one["key"], one["effect"]) == (UNREACHABLE, "NoExecute")
            ]
            return any((datetime.now(UTC) - one).total_seconds() > seconds for one in added)

        path = f"/api/v1/nodes/{edge.daemon.node}"
        await self.api.wait(path, is_so, "it was given up", timeout_s=PATIENCE_S)


def uid(found: Object) -> str:
    return str(found["metadata"]["uid"])


def stays(pod: Object, seconds: int | None) -> bool:
    return all(one.get("tolerationSeconds") == seconds for one in pod["spec"]["tolerations"])


def is_evicted(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] and any(
        one["type"] == "DisruptionTarget" and one["reason"] == "DeletionByTaintManager"
        for one in pod["status"]["conditions"]
    )


def is_untouched(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and not any(
        one["type"] == "DisruptionTarget" for one in pod["status"]["conditions"]
    )


def processes(pods: list[Object]) -> dict[str, int]:
    return {uid(one): process_with("MARK", uid(one)) for one in pods}


def has_ended(pod: Object) -> bool:
    try:
        process_with("MARK", uid(pod))
    except LookupError:
        return True
    return False


async def test_pods_of_an_autonomous_edge_outlast_its_absence_and_others_are_replaced(
    api: Api, join: Join, namespace: str
) -> None:
    shop = Shop(api, namespace)
    autonomous, plain, spare = await join(), await join(), await join()
    hurried = await join(runtime="hollow")
    for edge, site in ((autonomous, "autonomous"), (plain, "plain"), (hurried, "hurried")):
        await shop.site(edge, site)
    theirs = await shop.deploy("autonomous")
    others = await shop.deploy("plain")
    last = await shop.deploy("hurried")
    before = processes(theirs)

    # The annotation reaches pods that run, and disturbs none of them (P5).
    await shop.says(autonomous, "forever")
    await shop.says(hurried, "1h")
    await shop.until("autonomous", lambda pods: all(stays(one, None) for one in pods))
    await shop.until("hurried", lambda pods: all(stays(one, 3600) for one in pods))
    versions = {
        f"{namespace}/{name_of(one)}": one["metadata"]["resourceVersion"]
        for one in await shop.pods("autonomous")
    }
    await until(lambda: autonomous.daemon.stored("pod") == versions, "the edge knows")
    assert processes(theirs) == before

    await shop.site(spare, "plain")
    for edge in (autonomous, plain, hurried):
        edge.cut()

    # The plain edge's pods are evicted, and made anew where there is room for them.
    gone = {uid(one) for one in others}
    await shop.until(
        "plain",
        lambda pods: (
            {uid(one) for one in pods if is_evicted(one)} == gone
            and sum(is_ready(one) for one in pods if uid(one) not in gone) == REPLICAS
        ),
    )
    news = [one for one in await shop.pods("plain") if uid(one) not in gone]
    assert {one["spec"]["nodeName"] for one in news} == {spare.daemon.node}

    # Those of the autonomous edge are not, though it was given up for longer than that.
    await shop.until_unreachable(autonomous, 2 * TOLERATED_S)
    found = await shop.pods("autonomous")
    assert [uid(one) for one in found] == [uid(one) for one in theirs]
    assert all(map(is_untouched, found))
    assert processes(theirs) == before

    # Whoever says it too late still calls off what was to come.
    await shop.until_unreachable(hurried, 0)
    await shop.says(hurried, "forever")
    for one in last:
        await shop.tell_of_cancelling(one)

    for edge in (autonomous, plain, hurried):
        edge.mend()
    await shop.until("plain", lambda pods: {uid(one) for one in pods} == {uid(one) for one in news})
    for one in others:
        await until(lambda pod=one: has_ended(pod), "the old copy has ended")  # type: ignore[misc]
    await shop.until("autonomous", lambda pods: all(map(is_ready, pods)))
    found = await shop.pods("autonomous")
    assert [uid(one) for one in found] == [uid(one) for one in theirs]
    assert [restarts(one) for one in found] == [0] * REPLICAS
    assert processes(theirs) == before
    assert all(map(is_untouched, await shop.pods("hurried")))
