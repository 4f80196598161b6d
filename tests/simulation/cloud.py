"""A cloudcore of the simulation: the real controller and hub, on a simulated API server."""

import asyncio
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.connection import Receiver
from cloudcore.cloudhub.hub import CloudHub, Gate
from cloudcore.cloudhub.registry import SessionRegistry
from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.module import run_modules
from common.health import Health
from common.names import ModuleName
from tests.simulation.apitransport import ApiLink, sim_client
from tests.simulation.network import CloudEnd
from tests.simulation.virtualloop import Daemon

GRACE_S = 20.0
NODE_LIMIT = 100


@dataclass
class _Parts:
    registry: SessionRegistry
    controller: EdgeController
    hub: CloudHub


class Cloud:
    """One process of cloudcore, from its start to its end; what ``cloudcore.app`` builds."""

    def __init__(self, name: str, link: ApiLink) -> None:
        self.daemon = Daemon(name)
        self.metrics_registry = CollectorRegistry()
        self.metrics = CloudMetrics(self.metrics_registry)
        self.stop = asyncio.Event()
        self._link = link
        self._parts: _Parts | None = None

    async def run(self) -> None:
        """Be the main task of the process."""
        bus, locations, health = MessageContext(), LocationCache(), Health()
        client = sim_client(self._link)
        controller = EdgeController(bus, client, locations, metrics=self.metrics, health=health)
        registry = SessionRegistry(NODE_LIMIT, self.metrics_registry)
        hub = CloudHub(
            bus,
            ModuleName.EDGE_CONTROLLER,
            locations,
            registry,
            Gate(controller.may_be_edge, controller.synced.wait),
            metrics=self.metrics,
        )
        self._parts = _Parts(registry, controller, hub)
        await run_modules(bus, (controller, hub), self.stop, grace_s=GRACE_S)

    def accept(self, wire: CloudEnd) -> Receiver | None:
        """Judge a handshake as the door does, and take the connection in."""
        parts = self._parts
        if parts is None or self.stop.is_set() or not parts.controller.synced.is_set():
            return None
        if not parts.registry.has_room() or not parts.controller.may_be_edge(wire.node):
            return None
        return self.daemon.context.copy().run(parts.hub.serve, wire)

    @property
    def is_in_step(self) -> bool:
        """Whether it serves."""
        return self._parts is not None and self._parts.controller.synced.is_set()

    def held(self) -> int:
        """Return how many states of objects wait in the outboxes."""
        parts = self._parts
        return sum(session._outbox.objects for session in parts.registry) if parts else 0

    def ask_for_digests(self) -> None:
        """Have each edge say a digest with its next beat but one at the latest."""
        for session in self._parts.registry if self._parts else ():
            session.want_digest()

    def counted(self, name: str, **labels: str) -> float:
        """Return the value of a metric; 0 where it was never counted."""
        return self.metrics_registry.get_sample_value(name, labels) or 0.0
