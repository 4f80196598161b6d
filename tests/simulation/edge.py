"""An edge of the simulation: a machine that survives, and the processes of edgecore on it."""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from prometheus_client import CollectorRegistry

from common.beehive.context import MessageContext
from common.beehive.module import run_modules
from common.capabilities import HEADER, Capabilities, render
from common.clock import Clock
from common.names import UID, NodeID
from edgecore.edged.edged import Edged
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.node.facts import Amount, NodeFacts, Readings
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.runtime.base import ContainerState, PodObservation
from edgecore.edged.runtime.hollow import HollowRuntime
from edgecore.edged.runtime.spec import ContainerConfig, SandboxConfig
from edgecore.edgehub.client import EdgeHub
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.network import Network as HubNetwork
from edgecore.edgestore.store import EdgeStore
from edgecore.metamanager.manager import MetaManager
from edgecore.metrics import EdgeMetrics
from tests.simulation.disk import Disk, SimThreads
from tests.simulation.network import EdgeEnd, Network
from tests.simulation.virtualloop import Daemon

GRACE_S = 10.0
_GIB: Final = 1024**3
_PLENTY: Final = Amount(8 * _GIB, 16 * _GIB)
_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_FACTS: Final = NodeFacts(4, 16 * _GIB, 64 * _GIB, "amd64", "6.1", "Sim", "m", "u", "b")


class SimRuntime(HollowRuntime):
    """Containers that outlive edgecore, as real ones do, and take their time."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng
        self.on_end: Callable[[UID, str], None] = lambda _uid, _why: None
        """Called before anything of a pod ends."""

    def forget_process(self) -> None:
        """Take note that whoever read the events is gone."""
        self._events = asyncio.Queue()

    def running(self) -> set[UID]:
        """Return the pods that have a container which runs."""
        return {
            uid
            for uid, pod in self._pods.items()
            if any(c.state is ContainerState.RUNNING for c in pod.containers.values())
        }

    def known(self) -> set[UID]:
        """Return the pods of which anything is there."""
        return set(self._pods)

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Make the pod; over one that runs it would be its end."""
        await self._work()
        if config.uid in self.running():
            self.on_end(config.uid, "another sandbox")
        return await super().run_sandbox(config)

    async def stop_sandbox(self, uid: UID) -> None:
        """End the pod's containers."""
        if uid in self._pods:
            self.on_end(uid, "sandbox stopped")
        await self._work()
        await super().stop_sandbox(uid)

    async def create_container(self, uid: UID, config: ContainerConfig) -> str:
        """Make a container."""
        await self._work()
        return await super().create_container(uid, config)

    async def start_container(self, container_id: str) -> None:
        """Start it."""
        await self._work()
        await super().start_container(container_id)

    async def stop_container(self, container_id: str, grace_s: float) -> None:
        """End it, which takes a while."""
        if (uid := self._owners.get(container_id)) is not None:
            self.on_end(uid, "container stopped")
        await self._work()
        await super().stop_container(container_id, grace_s)

    async def list_pods(self) -> list[PodObservation]:
        """Return the pods, after a moment."""
        await self._work()
        return await super().list_pods()

    async def _work(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.005, 0.08))


class _Credentials:
    """A certificate that nobody looks at."""

    async def tls(self) -> ssl.SSLContext:
        return _TLS

    async def doubt(self) -> None:
        return None

    async def keep(self) -> None:
        return None


class Edge:
    """One machine with its disk and containers, and the edgecore that runs on it at the moment."""

    def __init__(
        self,
        node: NodeID,
        network: Network,
        disk: Disk,
        rng: random.Random,
        capabilities: Capabilities,
    ) -> None:
        self.node, self.disk = node, disk
        self.runtime = SimRuntime(rng)
        self.restarts = 0
        self.capabilities = capabilities
        self._network, self._rng = network, rng
        self.daemon = Daemon("none")
        self.daemon.is_alive = False
        self._registry = CollectorRegistry()
        self.metrics = EdgeMetrics(self._registry)
        self.stop = asyncio.Event()
        self.store: EdgeStore | None = None

    @property
    def is_open(self) -> bool:
        """Whether edgecore runs, and its store is open."""
        return (
            self.daemon.is_alive
            and not self.daemon.is_over
            and self.store is not None
            and self.store._database._connection is not None
        )

    def start(self) -> None:
        """Start edgecore, which finds what the one before it has left."""
        self.restarts += 1
        self.daemon = Daemon(f"{self.node}#{self.restarts}")
        self.stop = asyncio.Event()
        self.runtime.forget_process()
        self._registry = CollectorRegistry()
        self.metrics = EdgeMetrics(self._registry)
        self._network.loop.start(self.daemon, self._run())

    def counted(self, name: str, **labels: str) -> float:
        """Return the value of a metric of the present process; 0 where it was never counted."""
        return self._registry.get_sample_value(name, labels) or 0.0

    def kill(self) -> None:
        """End edgecore as by SIGKILL."""
        self._network.loop.kill(self.daemon)
        self._network.died(self.daemon)
        self.disk.die()

    def _dial(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AbstractAsyncContextManager[EdgeEnd]:
        del uri, tls
        offered = {**headers, HEADER: render(self.capabilities)}
        return self._network.dial(self.daemon, offered, handshake_s=handshake_s)

    async def _run(self) -> None:
        """Be the main task of edgecore; what ``edgecore.app`` builds."""
        context, clock = MessageContext(), Clock()
        store = self.store = EdgeStore(self.disk.folder, SimThreads(self.disk))
        root = self.disk.root / "edged"
        config = EdgedConfig(
            node_name=self.node,
            node_ip="192.0.2.1",
            root_dir=root,
            logs_dir=root / "logs",
            thresholds=(),
        )
        machine = Machine(_FACTS, lambda: Readings(_PLENTY, _PLENTY, _PLENTY, _PLENTY))
        edged = Edged(context, self.runtime, clock, config, self.metrics, machine=machine)
        metamanager = MetaManager(context, store, self.node, clock, self.metrics)
        hub = EdgeHub(
            context,
            HubConfig(self.node, "cloud.sim", 10000),
            _Credentials(),
            clock,
            self.metrics,
            HubNetwork(self._dial, self._rng.random),
        )
        async with store:
            await run_modules(context, (edged, metamanager, hub), self.stop, grace_s=GRACE_S)
