"""UpstreamController: every message of a node gets exactly one answer.

Messages about one object of one node are handled in their order, all others beside each other, in
a bounded number of places; leases have places of their own. A handler that fails, whatever way,
answers with a Status.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple, Protocol

import msgspec

from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.nodes import not_an_edge_node
from cloudcore.edgecontroller.handlers.table import TABLE, Entry, Places, order_type
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import Peer
from cloudcore.edgecontroller.workers import KeyedWorkers
from cloudcore.kube import kinds
from cloudcore.kube.views import NodeView, view_as
from common import capabilities, wire
from common.beehive.message import NULL, Message, raw, reply
from common.errors import MailboxClosedError, RemoteError, ResourceError
from common.names import GroupName, ModuleName, NodeID, Operation, PeerProtocol, ResourceType
from common.resource import parse_resource
from common.status import Status, StatusError, failure

logger = logging.getLogger(__name__)

PLACES: Final[Mapping[Places, int]] = MappingProxyType(
    {Places.OBJECTS: 128, Places.LEASES: 32, Places.COMPARISONS: 8}
)
"""Handlers of each kind that run at a time; what they cost is requests to the API server."""

_BATCH: Final = 64
_REGISTRATION: Final = (Operation.INSERT, ResourceType.NODE)


class _Order(NamedTuple):
    node: NodeID
    resource_type: str
    namespace: str
    name: str


class _PeerContent(msgspec.Struct):
    protocol: PeerProtocol
    capabilities: list[str] = []


Job = Callable[[], Awaitable[None]]


class Resync(Protocol):
    """Brings a KubeEdge edge in step; see ``cloudcore.synccontroller``."""

    async def send_everything(self, node: NodeID) -> None:
        """Send ``node`` all that it should have."""


class UpstreamController:
    """Serves the controller's mailbox."""

    def __init__(
        self, context: ControllerContext, services: Services, resync: Resync, sender: Sender
    ) -> None:
        """Serve by ``services``; read from and answer by the bus of ``sender``."""
        self._context, self._services, self._sender = context, services, sender
        self._resync = resync
        self._places = {kind: asyncio.Semaphore(count) for kind, count in PLACES.items()}
        self._metrics = sender.metrics

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty and everything in it is answered."""
        async with asyncio.TaskGroup() as group:
            workers: KeyedWorkers[_Order, Job] = KeyedWorkers(group, _do)
            while True:
                try:
                    batch = await self._sender.bus.receive_batch(
                        self._context.receive_module, limit=_BATCH
                    )
                except MailboxClosedError:
                    return
                for message in batch:
                    await self._admit(message, workers)

    async def _admit(self, message: Message, workers: KeyedWorkers[_Order, Job]) -> None:
        """Give the message to its worker, or answer it at once."""
        if message.operation in (Operation.CONNECTED, Operation.DISCONNECTED):
            self._note_peer(message, workers)
            return
        try:
            call = self._call(message)
        except ResourceError as error:
            await self._refuse(message, failure(HTTPStatus.BAD_REQUEST, str(error)))
            return
        resource = call.resource
        entry = TABLE.get((message.operation, resource.resource_type))
        if entry is None:
            await self._refuse(message, _unserved(call))
        elif entry.needs_name and not resource.name:
            status = failure(HTTPStatus.BAD_REQUEST, f"{message.operation} needs a name")
            await self._refuse(message, status, entry)
        else:
            order = _Order(
                call.node, order_type(resource.resource_type), resource.namespace, resource.name
            )
            workers.submit(order, partial(self._handle, call, entry))

    def _call(self, message: Message) -> Call:
        context = self._context
        resource = parse_resource(message.resource, edge_site=context.edge_site)
        node = context.site_node if context.edge_site else resource.node_id
        assert node is not None, "an EdgeSite has a node"
        return Call(node, resource, message)

    def _note_peer(self, message: Message, workers: KeyedWorkers[_Order, Job]) -> None:
        """Take in that a node came or went, which nobody wants to be answered."""
        node, peers = NodeID(message.resource.rpartition("/")[2]), self._services.state.peers
        if message.operation is Operation.DISCONNECTED:
            peers.disconnected(node)
            return
        content = wire.loads_as(message.content, _PeerContent)
        can = capabilities.parse(",".join(content.capabilities))
        peers.connected(node, Peer(content.protocol, message.msg_id, can))
        if content.protocol is PeerProtocol.KUBEEDGE:
            order = _Order(node, message.operation, "", "")
            workers.submit(order, partial(self._bring_in_step, node, message.msg_id))

    async def _bring_in_step(self, node: NodeID, connection: str) -> None:
        async with self._places[Places.COMPARISONS]:
            if self._services.state.peers.is_current(node, connection):
                await self._resync.send_everything(node)

    async def _handle(self, call: Call, entry: Entry) -> None:
        """Serve one message and answer it, whatever happens."""
        resource_type = call.resource.resource_type
        with self._metrics.query_seconds.labels(type=resource_type).time():
            async with self._places[entry.places]:
                try:
                    await self._check_node(call)
                    answer = await entry.handler(call, self._services)
                except RemoteError as error:
                    await self._refuse(call.message, error.status, entry)
                    return
                except Exception:  # one bad message must not stop the rest
                    logger.exception(
                        "handler failed",
                        extra={"node": call.node, "resource": call.message.resource},
                    )
                    status = failure(HTTPStatus.INTERNAL_SERVER_ERROR, "cloudcore failed")
                    await self._refuse(call.message, status, entry)
                    return
        await self._answer(call.message, entry, answer)

    async def _check_node(self, call: Call) -> None:
        """Serve no node that has a Node without the label of edge nodes.

        The cache may not have seen the label yet, so the API server is asked before a refusal.

        Raises:
            RemoteError: 403, the Node is not an edge node.
        """
        if not self._services.state.is_foreign(call.node):
            return
        if (call.message.operation, call.resource.resource_type) == _REGISTRATION:
            return  # has an answer of its own for this
        body = await self._services.client.get(kinds.NODES.path(name=call.node))
        if not view_as(body, NodeView).is_edge:
            raise not_an_edge_node(call.node)

    async def _answer(self, message: Message, entry: Entry, answer: Answer) -> None:
        for one in answer.withdrawals:
            await self._sender.send_object(one.delivery, one.content, "")
        content = answer.content
        if entry.is_wrapped:
            content = raw(wire.ObjectResponse(content))
        await self._sender.send_answer(
            reply(
                message,
                content,
                source=answer.source or ModuleName.EDGE_CONTROLLER,
                group=GroupName.RESOURCE,
                resource_version=answer.resource_version,
            )
        )

    async def _refuse(self, message: Message, status: Status, entry: Entry | None = None) -> None:
        """Answer with ``status``; that something does not exist is an answer like any other."""
        if not status.is_not_found:
            self._metrics.refused.labels(reason=status.reason or str(status.code)).inc()
            logger.info(
                "request refused",
                extra={
                    "operation": message.operation,
                    "resource": message.resource,
                    "code": status.code,
                    "reason": status.message,
                },
            )
        error = StatusError(status)
        is_wrapped = entry is not None and entry.is_wrapped
        content = raw(wire.ObjectResponse(NULL, error) if is_wrapped else error)
        await self._sender.send_answer(
            reply(message, content, source=ModuleName.EDGE_CONTROLLER, group=GroupName.RESOURCE)
        )


async def _do(job: Job) -> None:
    await job()


def _unserved(call: Call) -> Status:
    operation, resource_type = call.message.operation, call.resource.resource_type
    return failure(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"cloudcore does not serve {operation} of {resource_type[:64]}",
        kind=resource_type[:64],
        name=call.resource.name,
    )
