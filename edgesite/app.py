"""The daemon of an EdgeSite: the only place that builds its modules and knows them all.

The edge-store opens, edged starts the stored pods from it, and the controller asks the API server,
which may be away for as long as it likes.
"""

import asyncio
from contextlib import AbstractContextManager
from typing import Final

from msgspec.structs import replace

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube.client import KubeClient
from cloudcore.kube.figures import RequestFigures
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.clock import Clock
from common.health import Health
from common.metrics import Figures
from common.monitor import monitor
from common.names import ModuleName, NodeID
from edgecore.app import Edge, Shown, World, node_modules, serve, store_of
from edgecore.datadir import SOCKET
from edgecore.edgehub.pin import Membership
from edgecore.edgestore.store import FILE_NAME
from edgecore.figures import Facts
from edgecore.metrics import EdgeMetrics
from edgesite.config import EdgeSiteSettings
from edgesite.link import CAPABILITIES, Link, Surroundings
from edgesite.modules import Downlink, Uplink
from edgesite.presence import Presence
from edgesite.server import ApiServer

HUB_REPORT: Final = "edgehub"
"""Under which ``edgecore status`` looks for the link."""


async def run(settings: EdgeSiteSettings, stop: asyncio.Event) -> None:
    """Run the site until ``stop`` is set. Containers go on running.

    Raises:
        ConfigError: the kubeconfig, the data folder or an address cannot be used.
        StoreError: the edge-store cannot be used; the text says what to do.
        BaseExceptionGroup: a module failed.
    """
    registry, health = Figures(), Health()

    def told() -> AbstractContextManager[object]:
        return monitor(None, health, registry, settings.data_dir / SOCKET)

    asked = RequestFigures(registry)
    async with KubeClient(settings.kubeconfig, figures=asked) as client:
        site = build_site(settings, client, health, registry, asked)
        site.report_to(health, Clock().now())
        assert site.facts is not None
        site.facts.show(registry)
        await serve(settings, [site], Shown(health, registry, told), stop)


def build_site(
    settings: EdgeSiteSettings,
    client: KubeClient,
    health: Health,
    registry: Figures,
    asked: RequestFigures,
    world: World | None = None,
) -> Edge:
    """Return the modules of the site, wired; nothing is opened before they run.

    Args:
        settings: what it is told.
        client: of the API server; open for as long as the site runs.
        health: hears how the caches do; without them the site is ready all the same.
        registry: of its metrics.
        asked: what ``client`` notes.
        world: what it stands in; this machine if None.
    """
    world = world or World()
    clock = world.clock or Clock()
    bus, locations = MessageContext(), LocationCache()
    cloud_metrics, edge_metrics = CloudMetrics(registry), EdgeMetrics(registry)
    store = world.store or store_of(settings)
    server = ApiServer(
        client,
        asked,
        Membership(store, settings.accept_cluster),
        lambda: controller.synced,
        asyncio.get_running_loop().time,
    )
    node = NodeID(settings.node_name)
    around = Surroundings(
        bus,
        node,
        locations,
        cloud_metrics,
        edge_metrics,
        server.admit,
        clock,
        client.server,
        server.silence_s,
        settings.capabilities & CAPABILITIES,
    )
    link = Link(around)
    presence = Presence(around, link)
    controller = EdgeController(
        bus,
        client,
        locations,
        metrics=cloud_metrics,
        health=server.caches,
        context=_context_of(node, link),
    )
    edged, metamanager = node_modules(
        settings, bus, store, edge_metrics, replace(world, clock=clock)
    )
    cloud_metrics.mailboxes.read = bus.pending
    health.report(HUB_REPORT, presence.tell)
    health.remark("api-server", server.tell)
    facts = Facts(
        pods=edged.phases,
        offline_s=presence.offline_s,
        waiting=link.waiting,
        objects=lambda: len(store.index.entries),
        runtime_fault=edged.runtime_fault,
        clock_offset_s=lambda: clock.offset_s,
        pending=bus.pending,
        store=settings.data_dir / FILE_NAME,
        certificate=settings.data_dir / "pki" / f"{node}.pem",  # of an edge that became a site
    )
    # In the order in which they stop: what was accepted is still carried out.
    uplink, downlink = Uplink(bus, link, presence, edge_metrics), Downlink(bus, link)
    return Edge(settings, bus, store, (edged, metamanager, uplink, controller, downlink), facts)


def _context_of(node: NodeID, link: Link) -> ControllerContext:
    return ControllerContext(
        send_module=ModuleName.CLOUD_HUB,
        response_module=ModuleName.CLOUD_HUB,
        edge_site=True,
        site_node=node,
        backlog=link.backlog,
    )
