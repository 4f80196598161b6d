"""EdgeController: the module that joins the API server and the nodes."""

import asyncio

from cloudcore.edgecontroller.autonomykeeper import AutonomyKeeper
from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.downstream import DownstreamController
from cloudcore.edgecontroller.handlers.call import Services
from cloudcore.edgecontroller.leasekeeper import LeaseKeeper
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.edgecontroller.presence import Presence
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.edgecontroller.upstream import UpstreamController
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.synccontroller.resync import Resync
from common.beehive.context import MessageContext
from common.clock import Clock
from common.health import Health
from common.names import GroupName, ModuleName, NodeID


class EdgeController:
    """Downstream, upstream, leases and autonomy, around one state of the cluster."""

    name = ModuleName.EDGE_CONTROLLER
    group = GroupName.EDGE_CONTROLLER

    def __init__(
        self,
        bus: MessageContext,
        client: KubeClient,
        locations: LocationCache,
        *,
        metrics: CloudMetrics,
        health: Health,
        context: ControllerContext | None = None,
    ) -> None:
        """Make the module.

        Args:
            bus: where messages come from and go to.
            client: of the API server; open for as long as the module runs.
            locations: kept up to date here, and read by whoever authorises.
            metrics: counts what is refused or dropped.
            health: hears when all caches are in step (condition ``caches``).
            context: whom to talk to; None for a cloudcore with a hub.
        """
        context = context or ControllerContext()
        sender = Sender(bus, context, metrics)
        self._state = state = ClusterState(locations, context.site_node)
        reader = ObjectReader(client, state)
        self._leases = LeaseKeeper(client, state, sender, metrics)
        self._autonomy = AutonomyKeeper(client, state, metrics, context.default_toleration_s)
        self._downstream = DownstreamController(
            client,
            state,
            reader,
            sender,
            registered=self._leases.registered,
            autonomy=self._autonomy,
            metrics=metrics,
            health=health,
        )
        self._resync = resync = Resync(client, state, reader, sender, self._downstream, metrics)
        services = Services(client, state, reader, Clock(), resync)
        presence = Presence(state.peers, self._leases, resync)
        self._upstream = UpstreamController(context, services, presence, sender)

    @property
    def synced(self) -> asyncio.Event:
        """Set when all first lists are complete."""
        return self._downstream.synced

    def may_be_edge(self, node: NodeID) -> bool:
        """Whether ``node`` is an edge node or, as far as is known, has no Node yet."""
        return not self._state.is_foreign(node)

    async def run(self) -> None:
        """Serve until the mailbox is closed and all that it had accepted is answered."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._downstream.run(), name="downstream"),
                group.create_task(self._resync.run(), name="resync"),
                group.create_task(self._leases.run(), name="leases"),
                group.create_task(self._autonomy.run(), name="autonomy"),
            ]
            try:
                await self._upstream.run()
            finally:
                for task in beside:
                    task.cancel()
