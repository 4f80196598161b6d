"""The module as a daemon runs it.

Real: API server, bus and supervision of modules. The hub is a module that listens.
"""

import asyncio

from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.controller import EdgeController
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import new, raw
from common.beehive.module import run_modules
from common.health import Health
from common.names import GroupName, ModuleName, NodeID, Operation
from tests.cloudcore.cluster import PATIENCE_S, Hub, load, make_node


class HubModule(Hub):
    name = ModuleName.CLOUD_HUB
    group = GroupName.CLOUD_HUB


async def test_it_starts_serves_and_stops_with_the_daemon(client: KubeClient) -> None:
    bus, health = MessageContext(), Health()
    metrics = CloudMetrics(CollectorRegistry())
    controller = EdgeController(bus, client, LocationCache(), metrics=metrics, health=health)
    assert (controller.name, controller.group) == ("edgecontroller", "edgecontroller")
    hub, stop = HubModule(bus), asyncio.Event()
    assert health.problems()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_modules(bus, [controller, hub], stop, grace_s=10))
        async with asyncio.timeout(PATIENCE_S):
            await controller.synced.wait()
        assert not health.problems()
        answer = await hub.ask(Operation.QUERY, "node/n1/k8s/ca.crt")
        assert load(answer.content)
        stop.set()
    assert running.done()


async def test_at_an_edgesite_the_one_node_needs_no_name_in_the_resource(
    client: KubeClient,
) -> None:
    node: NodeID = await make_node(client)
    bus, health = MessageContext(), Health()
    metrics = CloudMetrics(CollectorRegistry())
    controller = EdgeController(
        bus,
        client,
        LocationCache(),
        metrics=metrics,
        health=health,
        context=ControllerContext(edge_site=True, site_node=node),
    )
    hub, stop = HubModule(bus), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_modules(bus, [controller, hub], stop, grace_s=10))
        async with asyncio.timeout(PATIENCE_S):
            await controller.synced.wait()
        answer = await hub.ask(Operation.QUERY, f"null/node/{node}")
        assert load(answer.content)["metadata"]["name"] == node
        patch = raw('{"status":{"conditions":[{"type":"Ready","status":"True"}]}}')
        request = new("edged", "meta", Operation.PATCH, f"null/nodepatch/{node}", patch)
        await bus.send(ModuleName.EDGE_CONTROLLER, request)
        await hub.object(Operation.UPDATE, f"null/node/{node}")
        stop.set()
