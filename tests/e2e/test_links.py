"""P3, P5 and P7 over links as bad as they come: cut, half open, far away, slow.

Real: control plane, cloudcore and edgecore as processes, each edge in a network namespace of its
own, TCP and TLS, SIGSTOP and SIGKILL. The wire in between is real up to IP; that packets on it are
late, lost or slow is this process's doing. What is random is so by a seed, which ``LINKS_SEED``
sets. ``python -m benchmarks links`` measures the same with more and for longer.
"""

import asyncio
import base64
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.commands import NodeMonitor
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore, total
from deploy.devcluster.shaper import Line
from deploy.devcluster.site import (
    RemoteEdge,
    edge_behind_wire,
    is_ready,
    log_lines,
    reachable_by_wire,
    restarts,
    until,
    until_metric,
)
from deploy.devcluster.wire import PERFECT
from tests.e2e.conftest import pod
from tests.e2e.test_main_path import READ_GREETING

pytestmark = [pytest.mark.usefixtures("wires_run"), pytest.mark.timeout(180)]

SEED = int(os.environ.get("LINKS_SEED", "20261126"))
BEAT_S = 10.0
SEEN_S = 2 * BEAT_S + 8.0
"""Two beats, and what it takes to ask for a figure on a busy machine: less than the half minute in
which a link without beats is found dead."""

GRACE_S = 25.0
MODEM = Line(delay_s=0.05, bits_per_s=64_000)
FAR = Line(delay_s=0.5)
LARGE_BYTES = 192 * 1024
PATIENCE_S = 90.0
IDLE_BEATS = 3
MAX_BYTES_A_BEAT = 4_000_000 / 86_400 * BEAT_S
"""Of the 4 MB that a day without anything to do may cost."""

Join = Callable[..., Awaitable[RemoteEdge]]

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def control_plane(
    wires_run: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """One that gives up a node sooner than others do, so that a flap is seen."""
    del wires_run
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        running = ControlPlane(
            tmp_path_factory.mktemp("control-plane"),
            node_monitor=NodeMonitor(period_s=1.0, grace_period_s=GRACE_S),
        )
        runner.run(running.start())
        yield running
        runner.run(running.stop())


@pytest.fixture
async def cloud(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[CloudCore]:
    daemon = CloudCore(control_plane, tmp_path / "cloudcore", options=reachable_by_wire())
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest.fixture
async def join(api: Api, cloud: CloudCore, tmp_path: Path) -> AsyncIterator[Join]:
    """A function that makes an edge join over a wire of its own; it is Ready then."""
    async with AsyncExitStack() as stack:

        async def join(*, runtime: str = "hollow", line: Line = PERFECT) -> RemoteEdge:
            node = f"remote-{next(_numbers)}"
            # After the edge has ended: one that runs registers its Node again.
            stack.push_async_callback(api.delete, f"/api/v1/nodes/{node}")
            edge = await stack.enter_async_context(
                edge_behind_wire(
                    node,
                    cloud,
                    tmp_path / node,
                    token=await cloud.token(),
                    options=(f"--runtime={runtime}",),
                    line=line,
                )
            )
            await api.wait(
                f"/api/v1/nodes/{node}",
                lambda found: found is not None and is_ready(found),
                f"{node} is Ready",
            )
            return edge

        yield join


class Namespace:
    """What a test does in its namespace of the API."""

    def __init__(self, api: Api, name: str) -> None:
        self.api, self.name = api, name
        self.pods = f"/api/v1/namespaces/{name}/pods"
        self.configmaps = f"/api/v1/namespaces/{name}/configmaps"

    async def run_reader(self, edge: RemoteEdge) -> tuple[Object, int]:
        """Run a pod that prints what the ConfigMap ``greeting`` says; return it and its process."""
        await self.api.create(
            self.configmaps, {"metadata": {"name": "greeting"}, "data": {"text": "hello"}}
        )
        volume = {"name": "greeting", "configMap": {"name": "greeting"}}
        mount = {"name": "greeting", "mountPath": "/etc/greeting"}
        await self.api.create(
            self.pods,
            pod(
                "reader",
                edge.daemon.node,
                script=READ_GREETING,
                container={"volumeMounts": [mount]},
                volumes=[volume],
            ),
        )
        found = await self.ready("reader")
        return found, await self.prints(edge, found, "hello")

    async def greet(self, text: str) -> None:
        await self.api.patch(f"{self.configmaps}/greeting", {"data": {"text": text}})

    async def prints(self, edge: RemoteEdge, found: Object, text: str) -> int:
        """Return the process that prints ``text``, as soon as one does."""

        def last_line() -> str:
            lines = log_lines(edge.daemon.data_dir, found)
            return lines[-1].partition(" F ")[2] if lines else ""

        await until(
            lambda: last_line().endswith(f"reads {text}"), f"it prints {text}", timeout_s=PATIENCE_S
        )
        return int(last_line().split()[1])

    async def create_pod(self, name: str, edge: RemoteEdge, *named: str) -> None:
        """Create a pod that names ConfigMaps."""
        env_from = [{"configMapRef": {"name": configmap}} for configmap in named]
        body = pod(name, edge.daemon.node, script="sleep 1000", container={"envFrom": env_from})
        await self.api.create(self.pods, body)

    async def ready(self, name: str) -> Object:
        found = await self.api.wait(
            f"{self.pods}/{name}",
            lambda p: p is not None and is_ready(p),
            f"{name} is Ready",
            timeout_s=PATIENCE_S,
        )
        assert found is not None
        return found

    async def stored(self, edge: RemoteEdge, name: str) -> None:
        """Return as soon as the edge holds the newest version of a ConfigMap."""
        newest = await self.api.get(f"{self.configmaps}/{name}")
        assert newest is not None
        version = newest["metadata"]["resourceVersion"]
        await until(
            lambda: self.held(edge, name) == version,
            f"the edge holds {name}",
            timeout_s=PATIENCE_S,
        )

    def held(self, edge: RemoteEdge, name: str) -> str | None:
        """Return the version of a ConfigMap that the edge holds."""
        return edge.daemon.stored("configmap").get(f"{self.name}/{name}")


@pytest.fixture
def site(api: Api, namespace: str) -> Namespace:
    return Namespace(api, namespace)


def incompressible(size: int) -> Object:
    """Return data of a ConfigMap that nothing makes smaller."""
    content = random.Random(SEED).randbytes(size)
    return {"binaryData": {"content": base64.b64encode(content).decode()}}


async def readiness(api: Api, edge: RemoteEdge) -> tuple[str, str]:
    """Return whether the node is Ready, and since when: another time means that it flapped."""
    node = await api.get(f"/api/v1/nodes/{edge.daemon.node}")
    assert node is not None
    [ready] = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
    return ready["status"], ready["lastTransitionTime"]


async def test_both_sides_of_a_half_open_link_notice_and_nothing_that_runs_is_touched(
    cloud: CloudCore, join: Join, site: Namespace
) -> None:
    edge = await join(runtime="process")
    found, pid = await site.run_reader(edge)
    edge.wire.silence()
    async with asyncio.TaskGroup() as group:
        refusals = "cloudcore_refusals_total"
        group.create_task(
            until_metric(cloud, refusals, 1, timeout_s=SEEN_S, reason="silent"), name="cloudcore"
        )
        group.create_task(
            until_metric(edge.daemon, "edgecore_connected", 0, timeout_s=SEEN_S), name="edgecore"
        )
    await site.greet("still here")
    edge.wire.mend()
    assert await site.prints(edge, found, "still here") == pid
    assert restarts(await site.ready("reader")) == 0


async def test_over_a_slow_link_a_large_configmap_arrives_and_what_is_small_overtakes_it(
    api: Api, join: Join, site: Namespace
) -> None:
    edge = await join()
    await api.create(site.configmaps, {"metadata": {"name": "large"}})
    await api.create(site.configmaps, {"metadata": {"name": "small"}})
    await site.create_pod("before", edge, "large")
    await site.ready("before")
    was_ready = await readiness(api, edge)
    edge.wire.shape(MODEM)
    connections = await edge.daemon.metric("edgecore_connections_total")
    old = site.held(edge, "large")
    await api.patch(f"{site.configmaps}/large", incompressible(LARGE_BYTES))

    await site.create_pod("during", edge, "small")
    await site.ready("during")
    await api.patch(f"{site.configmaps}/small", {"data": {"text": "quick"}})
    await site.stored(edge, "small")
    assert site.held(edge, "large") == old, "what is small had to wait for what is large"

    await site.stored(edge, "large")
    assert await edge.daemon.metric("edgecore_connections_total") == connections
    assert await readiness(api, edge) == was_ready


async def test_far_away_everything_works(api: Api, join: Join, site: Namespace) -> None:
    edge = await join(runtime="process", line=FAR)
    was_ready = await readiness(api, edge)
    found, pid = await site.run_reader(edge)
    await site.greet("far away")
    assert await site.prints(edge, found, "far away") == pid
    await api.delete(f"{site.pods}/reader")
    await api.wait(f"{site.pods}/reader", lambda p: p is None, "it is gone", timeout_s=PATIENCE_S)
    await until(lambda: not edge.daemon.stored("pod"), "the edge forgets it")
    assert await readiness(api, edge) == was_ready


async def test_after_cuts_at_random_moments_the_edge_is_in_step(
    api: Api, join: Join, site: Namespace
) -> None:
    edge = await join(line=MODEM)
    chance = random.Random(SEED)
    for number in range(8):
        fault = chance.choice((edge.wire.cut, edge.wire.silence))
        await site.create_pod(f"pod-{number}", edge, f"config-{number}", f"config-{number // 2}")
        await api.create(
            site.configmaps,
            {
                "metadata": {"name": f"config-{number}"},
                **incompressible(chance.choice((10, 20_000))),
            },
        )
        await asyncio.sleep(chance.uniform(0, 3))
        fault()
        if number % 3:
            await api.delete(f"{site.pods}/pod-{chance.randrange(number)}", grace_s=0)
        await asyncio.sleep(chance.uniform(0, 1.5))
        edge.wire.mend()
    pods = await api.items(site.pods)
    wanted = {f"{site.name}/{one['metadata']['name']}" for one in pods}
    for one in pods:
        await site.ready(one["metadata"]["name"])
    await until(
        lambda: set(edge.daemon.stored("pod")) == wanted,
        f"seed {SEED}: the edge holds {wanted}",
        timeout_s=PATIENCE_S,
    )
    for one in pods:
        for source in one["spec"]["containers"][0]["envFrom"]:
            await site.stored(edge, source["configMapRef"]["name"])


async def test_an_idle_edge_with_five_pods_says_nothing_but_that_it_lives(
    cloud: CloudCore, join: Join, site: Namespace
) -> None:
    edge = await join()
    for number in range(5):
        await site.create_pod(f"pod-{number}", edge)
    for number in range(5):
        await site.ready(f"pod-{number}")

    async def beats() -> float:
        return await cloud.metric("cloudcore_messages_received_total", operation="keepalive")

    async def messages() -> float:
        metrics = await cloud.metrics()  # of one moment: a beat between two would count as one less
        received, sent = "cloudcore_messages_received_total", "cloudcore_messages_sent_total"
        up = total(metrics, received) - total(metrics, received, operation="keepalive")
        return up + total(metrics, sent)

    async def until_beat(number: float) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await beats() < number:  # noqa: ASYNC110 - see until_metric
                await asyncio.sleep(0.05)

    # The start of pods has more to say than that they are Ready: until a whole beat says nothing.
    said = -1.0
    while (said_since := await messages()) != said:
        said = said_since
        await until_beat(await beats() + 2)
    before, carried = await beats(), edge.wire.bytes
    for number in range(1, IDLE_BEATS + 1):
        await until_beat(before + number)
    assert await messages() == said
    assert (edge.wire.bytes - carried) / IDLE_BEATS <= MAX_BYTES_A_BEAT


async def test_a_node_that_hangs_or_dies_is_given_up_and_one_with_a_slow_link_is_not(
    api: Api, join: Join, site: Namespace
) -> None:
    slow = await join()
    await api.create(site.configmaps, {"metadata": {"name": "large"}})
    await site.create_pod("busy", slow, "large")
    await site.ready("busy")
    frozen, killed = await join(), await join()
    was_ready = await readiness(api, slow)
    slow.wire.shape(Line(FAR.delay_s, MODEM.bits_per_s))
    await api.patch(f"{site.configmaps}/large", incompressible(LARGE_BYTES))
    with frozen.daemon.frozen():
        killed.daemon.kill()
        for edge in (frozen, killed):
            await api.wait(
                f"/api/v1/nodes/{edge.daemon.node}",
                lambda node: node is not None and not is_ready(node),
                "it is given up",
                timeout_s=BEAT_S + GRACE_S + 10.0,
            )
        assert await readiness(api, slow) == was_ready
    await api.wait(
        f"/api/v1/nodes/{frozen.daemon.node}",
        lambda node: node is not None and is_ready(node),
        "the one that went on is Ready again",
    )
