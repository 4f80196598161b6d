"""P3, P5 and P8 under random trouble: whatever happens meanwhile, the edges end in step.

Real: control plane, cloudcore and edgecores as processes with SIGKILLs, links that are cut or half
open. What happens is random by a seed, which a failure shows; ``CHAOS_SEED``, ``CHAOS_STEPS`` and
``CHAOS_MINUTES`` repeat or lengthen a run (``make chaos`` does). What the simulation does to
thousands of schedules in a made-up network, this does to one in a real one.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import pytest

from deploy.devcluster.api import Api, ApiError, Object
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.site import Edge, is_ready, name_of, restarts
from tests.e2e.conftest import Join, pod

SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
STEPS = int(os.environ.get("CHAOS_STEPS", "80"))
MINUTES = float(os.environ.get("CHAOS_MINUTES", "0"))
NAMES = [f"x{number}" for number in range(6)]
SETTLE_EVERY = 80
CONVERGED_S = 60.0
POLL_S = 0.1


class Chaos:
    """A cluster to which random things happen."""

    def __init__(self, api: Api, cloud: CloudCore, edges: list[Edge], namespace: str) -> None:
        self._api, self._cloud, self._edges = api, cloud, edges
        self._base = f"/api/v1/namespaces/{namespace}"
        self._namespace = namespace
        self._random = random.Random(SEED)
        self._version = 0

    async def run(self) -> None:
        """Make trouble, settle, make trouble again; as many steps and minutes as were asked for."""
        ends = time.monotonic() + MINUTES * 60
        done = 0
        while done < STEPS or time.monotonic() < ends:
            await self._trouble(min(SETTLE_EVERY, STEPS - done) if done < STEPS else SETTLE_EVERY)
            done += SETTLE_EVERY
            await self.settle()

    async def _trouble(self, count: int) -> None:
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (10, self._create_pod),
            (5, self._delete_pod),
            (3, self._force_delete_pod),
            (8, self._label_pod),
            (12, self._write_configmap),
            (4, self._delete_configmap),
            (4, self._cut_or_mend),
            (3, self._half_open),
            (2, self._kill_edge),
            (1, self._kill_cloud),
        ]
        weights = [weight for weight, _ in steps]
        for _ in range(count):
            [(_, step)] = self._random.choices(steps, weights)
            await step()

    async def settle(self) -> None:
        """Mend everything, and wait until every edge holds what the API server has for it.

        The last edge is the one whose pods are processes.
        """
        for edge in self._edges:
            edge.mend()
        deadline = time.monotonic() + CONVERGED_S
        while difference := await self._difference():
            if time.monotonic() > deadline:
                pytest.fail(f"seed {SEED}, {STEPS} steps: {difference}")
            await asyncio.sleep(POLL_S)
        assert await self._cloud.metric("cloudcore_divergence_total") == 0, f"seed {SEED}"
        # What runs as a process outlives edgecore, so nothing that happens here starts it again.
        node = self._edges[-1].daemon.node
        pods = await self._api.items(f"{self._base}/pods?fieldSelector=spec.nodeName={node}")
        assert [name_of(one) for one in pods if restarts(one)] == [], f"seed {SEED}"

    async def _difference(self) -> str:
        """Return how an edge differs from the API server, or empty where none does."""
        configmaps = self._versions(await self._api.items(f"{self._base}/configmaps"))
        for edge in self._edges:
            selector = f"fieldSelector=spec.nodeName={edge.daemon.node}"
            pods = await self._api.items(f"{self._base}/pods?{selector}")
            named = {key for one in pods for key in self._named_by(one)}
            wanted = {
                "pod": self._versions(pods),
                "configmap": {k: v for k, v in configmaps.items() if k in named},
            }
            held = {kind: edge.daemon.stored(kind) for kind in wanted}
            if held != wanted:
                return f"{edge.daemon.node} holds {held}, wanted {wanted}"
            waiting = [
                name_of(one)
                for one in pods
                if self._named_by(one) <= configmaps.keys() and not is_ready(one)
            ]
            if waiting:
                return f"{waiting} have all that they name and are not ready"
        return ""

    def _named_by(self, one: Object) -> set[str]:
        env_from = one["spec"]["containers"][0]["envFrom"]
        return {f"{self._namespace}/{source['configMapRef']['name']}" for source in env_from}

    def _versions(self, objects: list[Object]) -> dict[str, str]:
        return {
            f"{self._namespace}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
            for one in objects
        }

    async def _create_pod(self) -> None:
        name = self._random.choice(NAMES)
        if await self._api.get(f"{self._base}/pods/{name}") is not None:
            return
        node = self._random.choice(self._edges).daemon.node
        named = self._random.sample(NAMES, 2)
        env_from = [{"configMapRef": {"name": one}} for one in named]
        body = pod(name, node, script="sleep 1000", container={"envFrom": env_from})
        await self._api.create(f"{self._base}/pods", body)

    async def _delete_pod(self) -> None:
        await self._api.delete(f"{self._base}/pods/{self._random.choice(NAMES)}")

    async def _force_delete_pod(self) -> None:
        await self._api.delete(f"{self._base}/pods/{self._random.choice(NAMES)}", grace_s=0)

    async def _label_pod(self) -> None:
        path = f"{self._base}/pods/{self._random.choice(NAMES)}"
        try:
            await self._api.patch(path, {"metadata": {"labels": {"at": self._next()}}})
        except ApiError as error:
            # Not there, or just taken away by its edge: looking first would only narrow the gap.
            if error.code != HTTPStatus.NOT_FOUND:
                raise

    async def _write_configmap(self) -> None:
        name = self._random.choice(NAMES)
        path = f"{self._base}/configmaps"
        data = {"data": {"value": self._next()}}
        if await self._api.get(f"{path}/{name}") is None:
            await self._api.create(path, {"metadata": {"name": name}, **data})
        else:
            await self._api.patch(f"{path}/{name}", data)

    async def _delete_configmap(self) -> None:
        await self._api.delete(f"{self._base}/configmaps/{self._random.choice(NAMES)}")

    async def _cut_or_mend(self) -> None:
        edge = self._random.choice(self._edges)
        self._random.choice([edge.cut, edge.mend])()

    async def _half_open(self) -> None:
        """Let nothing through, and say so to nobody, until the link is mended."""
        self._random.choice(self._edges).websocket.stall()

    async def _kill_edge(self) -> None:
        edge = self._random.choice(self._edges)
        edge.daemon.kill()
        await edge.daemon.start()

    async def _kill_cloud(self) -> None:
        self._cloud.kill()
        await self._cloud.start()

    def _next(self) -> str:
        self._version += 1
        return str(self._version)


@pytest.mark.timeout(300 + MINUTES * 90)
async def test_whatever_happens_every_edge_ends_in_step(
    api: Api, cloud: CloudCore, join: Join, namespace: str
) -> None:
    edges = [await join(runtime="hollow"), await join(runtime="hollow"), await join()]
    chaos = Chaos(api, cloud, edges, namespace)
    await chaos.run()
