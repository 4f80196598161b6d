"""Daemons of different versions: the previous one of the protocol, and each capability missing.

Real: control plane, cloudcores and edgecores as processes, TLS, SQLite. What a daemon of another
version says is said by one of this version that is told to speak no more than that. Pods are
hollow; links can be cut by a proxy. All that is needed is started once; each test is one pair.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from common.capabilities import ALL, NONE, Capabilities, Capability
from deploy.devcluster.api import DEFAULT_WAIT_S, Api, Object
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore, total
from deploy.devcluster.site import Edge, is_ready, running_edge, until
from tests.e2e.conftest import pod

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

LARGE_CHARS: Final = 300 * 1024
LEASE_PERIOD: Final = timedelta(seconds=9)  # ten, less what one renewal may be early
NEVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pair:
    """What an edge and its cloudcore are able to do."""

    edge: Capabilities
    cloud: Capabilities

    def __str__(self) -> str:
        return f"edge-{_lacks(self.edge)}-cloud-{_lacks(self.cloud)}"

    @property
    def agreed(self) -> Capabilities:
        return self.edge & self.cloud


def _lacks(able: Capabilities) -> str:
    if able == NONE:
        return "of-the-previous-version"
    return "".join(f"without-{one}" for one in ALL - able) or "of-this-version"


LESS: Final = (NONE, *(ALL - {one} for one in Capability))
PAIRS: Final = [Pair(able, ALL) for able in LESS] + [Pair(ALL, able) for able in LESS]
each_pair = pytest.mark.parametrize("pair", PAIRS, ids=str)


@dataclass
class Site:
    """All pairs, joined."""

    api: Api
    namespace: str
    edges: dict[Pair, Edge] = field(default_factory=dict)
    leased: dict[Pair, datetime] = field(default_factory=dict)
    """When the lease was renewed that the node had when it had joined."""

    ready_since: dict[Pair, str] = field(default_factory=dict)

    def path(self, plural: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{plural}/{name}".rstrip("/")

    async def node(self, pair: Pair) -> Object:
        node = self.edges[pair].daemon.node
        found = await self.api.wait(
            f"/api/v1/nodes/{node}",
            lambda node: node is not None and is_ready(node),
            f"{node} is Ready",
            timeout_s=60,
        )
        assert found is not None
        return found

    async def renewed_after(self, pair: Pair, moment: datetime) -> datetime:
        """Return when the node's lease was renewed last, once that is after ``moment``."""
        node = self.edges[pair].daemon.node
        found = await self.api.wait(
            f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}",
            lambda lease: lease is not None and _renewed(lease) > moment,
            f"the lease of {node} is renewed after {moment}",
            timeout_s=60,
        )
        assert found is not None
        return _renewed(found)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("skew")
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(Api(control_plane))
        made = Site(api, "skew")
        await api.create("/api/v1/namespaces", {"metadata": {"name": made.namespace}})
        clouds = await _clouds(control_plane, folder, stack)
        token = await clouds[ALL].token()
        for number, pair in enumerate(PAIRS):
            # After the edge has ended: one that runs registers its Node again.
            stack.push_async_callback(api.delete, f"/api/v1/nodes/skew-{number}")
            made.edges[pair] = await stack.enter_async_context(
                running_edge(
                    f"skew-{number}",
                    clouds[pair.cloud],
                    folder / f"skew-{number}",
                    token=token,
                    options=("--runtime=hollow", _option(pair.edge)),
                )
            )
        for pair in PAIRS:
            made.ready_since[pair] = _ready_since(await made.node(pair))
            made.leased[pair] = await made.renewed_after(pair, NEVER)
        yield made
        for found in await api.items(made.path("pods")):
            await api.delete(made.path("pods", found["metadata"]["name"]), grace_s=0)


async def _clouds(
    control_plane: ControlPlane, folder: Path, stack: AsyncExitStack
) -> dict[Capabilities, CloudCore]:
    """Start a cloudcore for each that differs; they are replicas of one another otherwise."""
    clouds = {
        able: CloudCore(control_plane, folder / f"cloud-{number}", options=(_option(able),))
        for number, able in enumerate((ALL, *LESS))
    }
    for cloud in clouds.values():
        stack.push_async_callback(cloud.stop)
    async with asyncio.TaskGroup() as tasks:
        for cloud in clouds.values():
            tasks.create_task(cloud.start())
    return clouds


def _option(able: Capabilities) -> str:
    return f"--capabilities={','.join(sorted(able)) or 'none'}"


def _renewed(lease: Object) -> datetime:
    return datetime.fromisoformat(lease["spec"]["renewTime"])


def _ready_since(node: Object) -> str:
    (since,) = (
        str(condition["lastTransitionTime"])
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    )
    return since


def configmap(name: str, text: str) -> Object:
    return {"metadata": {"name": name}, "data": {"text": text}}


async def stores(edge: Edge, key: str, version: str) -> None:
    await until(
        lambda: edge.daemon.stored("configmap").get(key) == version,
        f"{edge.daemon.node} stores version {version} of {key}",
    )


@each_pair
async def test_what_the_node_should_have_comes_and_goes(site: Site, pair: Pair) -> None:
    edge, api = site.edges[pair], site.api
    name = edge.daemon.node
    small, large = f"{name}-small", f"{name}-large"
    await api.create(site.path("configmaps"), configmap(small, "first"))
    volumes: list[Object] = [
        {"name": "small", "configMap": {"name": small}},
        {"name": "large", "configMap": {"name": large, "optional": True}},
    ]
    await api.create(site.path("pods"), pod(name, name, script="", volumes=volumes))
    await api.wait(
        site.path("pods", name),
        lambda found: found is not None and is_ready(found),
        "the pod is Ready",
    )

    update = await api.patch(site.path("configmaps", small), configmap(small, "second"))
    await stores(edge, f"{site.namespace}/{small}", update["metadata"]["resourceVersion"])

    came = await edge.daemon.metric("edgecore_received_bytes_total")
    noise = random.Random(name).randbytes(LARGE_CHARS // 2).hex()
    made = await api.create(site.path("configmaps"), configmap(large, noise))
    await stores(edge, f"{site.namespace}/{large}", made["metadata"]["resourceVersion"])
    await spoke_as_agreed(edge, pair.agreed, large_bytes=-came)

    edge.cut()
    await api.delete(site.path("pods", name), grace_s=0)
    edge.mend()
    await until(lambda: not edge.daemon.stored("pod"), "the edge-store has no pod")
    await until(lambda: not edge.daemon.stored("configmap"), "nor what none names")


async def spoke_as_agreed(edge: Edge, agreed: Capabilities, *, large_bytes: float) -> None:
    """Look at what the edge has counted: what was agreed on was spoken, and nothing else was.

    Args:
        edge: it has had a large content just now.
        agreed: what it and its cloudcore are able to do.
        large_bytes: less the bytes that had come before that.
    """
    counted = edge.daemon.metric
    sent, received = "edgecore_messages_sent_total", "edgecore_messages_received_total"
    has_beats = Capability.BEATS in agreed
    assert (await counted(sent, operation="beat") > 0) is has_beats
    assert (await counted(received, operation="beatanswer") > 0) is has_beats
    assert (await counted(sent, operation="keepalive") > 0) is not has_beats
    has_chunks = Capability.CHUNKS in agreed
    assert (await counted("edgecore_transfers_total", event="completed") > 0) is has_chunks
    # Two hexadecimal digits are a byte of noise: compressed, they take little more than that.
    large_bytes += await counted("edgecore_received_bytes_total")
    assert (large_bytes < 0.8 * LARGE_CHARS) is (Capability.DEFLATE in agreed)
    # A cloud that knows neither is told what has come message by message.
    if Capability.ACKS not in agreed:
        async with asyncio.timeout(DEFAULT_WAIT_S):
            # What is acknowledged is counted before it is told.
            while not _is_told_each(await edge.daemon.metrics()):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)


def _is_told_each(metrics: str) -> bool:
    """Whether each message that was acknowledged was told by a message, at one moment."""
    told = total(metrics, "edgecore_messages_sent_total", operation="response")
    return told == total(metrics, "edgecore_messages_acknowledged_total")


@each_pair
async def test_its_lease_is_renewed_and_the_node_never_is_anything_but_ready(
    site: Site, pair: Pair
) -> None:
    await site.renewed_after(pair, site.leased[pair] + 2 * LEASE_PERIOD)
    assert _ready_since(await site.node(pair)) == site.ready_since[pair]


async def test_each_edge_belongs_to_the_cluster_and_was_told_so_by_its_cloud(site: Site) -> None:
    found = await site.api.get("/api/v1/namespaces/kube-system")
    assert found is not None
    cluster = found["metadata"]["uid"]
    assert {edge.daemon.state("cluster") for edge in site.edges.values()} == {cluster}
