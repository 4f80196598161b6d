"""What leaves the controller. Real bus, no IO."""

import msgspec
from prometheus_client import CollectorRegistry

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.edgecontroller.sender import Sender, skeleton
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import new
from common.names import UID, GroupName, ModuleName, NodeID, Operation, ResourceType
from tests.cloudcore.cluster import load

DELIVERY = Delivery(NodeID("n1"), Operation.UPDATE, ResourceType.CONFIGMAP, "default", "web")


def made(context: ControllerContext) -> Sender:
    bus = MessageContext()
    for module in {context.send_module, context.response_module}:
        bus.add_module(module, GroupName.RESOURCE)
    return Sender(bus, context, CloudMetrics(CollectorRegistry()))


async def test_an_object_is_as_on_the_wire_and_its_content_is_shared() -> None:
    sender, content = made(ControllerContext()), msgspec.Raw(b'{"kind":"ConfigMap"}')
    await sender.send_object(DELIVERY, content, "7")
    message = await sender.bus.receive(ModuleName.CLOUD_HUB)
    assert message.content is content
    assert message.header.resourceversion == "7"
    assert message.parent_id == ""
    route = message.route
    assert (route.source, route.group, route.operation, route.resource) == (
        "edgecontroller",
        "resource",
        Operation.UPDATE,
        "node/n1/default/configmap/web",
    )


async def test_at_an_edgesite_there_is_no_node_in_the_resource() -> None:
    context = ControllerContext(send_module=ModuleName.META_MANAGER, edge_site=True)
    sender = made(context)
    await sender.send_object(DELIVERY, msgspec.Raw(b"{}"), "7")
    message = await sender.bus.receive(ModuleName.META_MANAGER)
    assert message.resource == "default/configmap/web"


async def test_answers_go_where_answers_are_awaited() -> None:
    sender = made(ControllerContext(response_module=ModuleName.EDGED))
    answer = new("x", "y", Operation.RESPONSE, "default/pod/web")
    await sender.send_answer(answer)
    assert await sender.bus.receive(ModuleName.EDGED) is answer


async def test_what_nobody_takes_any_more_is_counted() -> None:
    sender = made(ControllerContext())
    sender.bus.close(ModuleName.CLOUD_HUB)
    await sender.send_object(DELIVERY, msgspec.Raw(b"{}"), "7")
    assert sender.metrics.dropped.value_of("hub_closed") == 1


def test_a_skeleton_is_enough_to_know_an_object_by() -> None:
    content = load(skeleton("ConfigMap", "v1", DELIVERY, UID("u")))
    assert content == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
    }
    node = Delivery(NodeID("n1"), Operation.DELETE, ResourceType.NODE, "null", "n1")
    assert load(skeleton("Node", "v1", node, UID("u")))["metadata"] == {"name": "n1", "uid": "u"}
