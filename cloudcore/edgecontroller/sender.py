"""What leaves the controller: objects to the nodes, and answers. All of it passes through here."""

import logging
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.routing import Delivery
from cloudcore.kube.listwatch import RawObject
from cloudcore.metrics import CloudMetrics
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw
from common.errors import MailboxClosedError
from common.names import CLUSTER_SCOPE, UID, GroupName, ModuleName, ResourceType
from common.resource import build_resource

logger = logging.getLogger(__name__)


class Sender(Struct, frozen=True):
    """Puts messages on the bus; waits while the hub's mailbox is full."""

    bus: MessageContext
    context: ControllerContext
    metrics: CloudMetrics

    async def send_object(self, delivery: Delivery, content: msgspec.Raw, version: str) -> None:
        """Send an object to a node.

        Args:
            delivery: to whom and as what.
            content: with kind and apiVersion.
            version: its resource version; empty where it is not known, as of a skeleton.
        """
        await self._send(self.context.send_module, self._message(delivery, content, version))

    async def send_to_all(
        self, deliveries: Iterable[Delivery], content: msgspec.Raw, version: str
    ) -> None:
        """Send one state of one object to many nodes, which all are told the same.

        The messages share their header and content: by that the hub sees that it need not encode
        them again. An id has to be unique within a connection only.
        """
        first: Message | None = None
        for delivery in deliveries:
            if first is None:
                message = first = self._message(delivery, content, version)
            else:
                message = first.about(self._resource(delivery))
            await self._send(self.context.send_module, message)

    def _message(self, delivery: Delivery, content: msgspec.Raw, version: str) -> Message:
        message = new(
            ModuleName.EDGE_CONTROLLER,
            GroupName.RESOURCE,
            delivery.operation,
            self._resource(delivery),
            content,
            resource_version=version,
        )
        if not delivery.is_restated:
            return message
        header = msgspec.structs.replace(message.header, type=ResourceType.INVENTORY)
        return msgspec.structs.replace(message, header=header)

    def _resource(self, delivery: Delivery) -> str:
        return build_resource(
            delivery.node,
            delivery.namespace,
            delivery.resource_type,
            delivery.name,
            edge_site=self.context.edge_site,
        )

    async def send_answer(self, message: Message) -> None:
        """Send an answer to the module that waits for answers."""
        await self._send(self.context.response_module, message)

    async def _send(self, module: ModuleName, message: Message) -> None:
        try:
            await self.bus.send(module, message)
        except MailboxClosedError:
            # The hub is shutting down, and with it every session: nobody is left to be told.
            self.metrics.dropped.inc("hub_closed")
            logger.debug("hub is closed", extra={"resource": message.resource})


def skeleton(kind: str, api_version: str, delivery: Delivery, uid: UID) -> msgspec.Raw:
    """Return as much of a deleted object as it takes to know it by."""
    metadata = {"name": delivery.name, "uid": uid}
    if delivery.namespace != CLUSTER_SCOPE:
        metadata["namespace"] = delivery.namespace
    return raw({"kind": kind, "apiVersion": api_version, "metadata": metadata})


def content_of(one: RawObject) -> tuple[msgspec.Raw, str]:
    """Return content and version of an object, as ``send_object`` wants them."""
    return one.raw, one.view.metadata.resourceVersion
