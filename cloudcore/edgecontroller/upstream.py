"""UpstreamController: every message of a node gets exactly one answer.

Messages about one object of one node are handled in their order, all others beside each other, in
a bounded number of places, which nodes get in turns; leases have places of their own. A handler
that fails, whatever way, answers with a Status.
"""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple

from cloudcore.edgecontroller import presence
from cloudcore.edgecontroller.context import ControllerContext
from cloudcore.edgecontroller.handlers.call import Answer, Call, Services
from cloudcore.edgecontroller.handlers.nodes import not_an_edge_node
from cloudcore.edgecontroller.handlers.table import TABLE, Entry, Places, order_type
from cloudcore.edgecontroller.places import FairPlaces
from cloudcore.edgecontroller.presence import Job, Presence
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.workers import KeyedWorkers
from cloudcore.kube import kinds
from cloudcore.kube.views import NodeView, view_as
from common import wire
from common.beehive.message import NULL, Message, raw, reply
from common.errors import MailboxClosedError, RemoteError, ResourceError
from common.names import GroupName, ModuleName, NodeID, Operation, ResourceType
from common.resource import parse_resource
from common.status import Status, StatusError, failure

logger = logging.getLogger(__name__)

PLACES: Final[Mapping[Places, tuple[int, int]]] = MappingProxyType(
    {Places.OBJECTS: (128, 16), Places.LEASES: (32, 4), Places.COMPARISONS: (8, 2)}
)
"""How many handlers of each kind run at a time, and how many of these for one node; what they cost
is requests to the API server."""

_BATCH: Final = 64
_REGISTRATION: Final = (Operation.INSERT, ResourceType.NODE)


class _Order(NamedTuple):
    node: NodeID
    resource_type: str
    namespace: str
    name: str


class UpstreamController:
    """Serves the controller's mailbox."""

    def __init__(
        self, context: ControllerContext, services: Services, nodes: Presence, sender: Sender
    ) -> None:
        """Serve by ``services``; read from and answer by the bus of ``sender``."""
        self._context, self._services, self._sender = context, services, sender
        self._nodes = nodes
        self._places = {kind: FairPlaces(*counts) for kind, counts in PLACES.items()}
        self._metrics = sender.metrics

    async def run(self) -> None:
        """Serve until the mailbox is closed and empty and everything in it is answered."""
        async with asyncio.TaskGroup() as group:
            workers: KeyedWorkers[_Order, Job] = KeyedWorkers(group, _run)
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
        if message.operation in presence.OPERATIONS:
            self._note_presence(message, workers)
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

    def _note_presence(self, message: Message, workers: KeyedWorkers[_Order, Job]) -> None:
        """Take in what concerns a node as such, which nobody wants to be answered."""
        node = NodeID(message.resource.rpartition("/")[2])
        if message.operation is Operation.DISCONNECTED:
            self._services.renewals.pop(node, None)
        job = self._nodes.note(node, message)
        if job is not None:
            workers.submit(_Order(node, message.operation, "", ""), partial(self._do, node, job))

    async def _do(self, node: NodeID, job: Job) -> None:
        async with self._places[Places.COMPARISONS].take(node):
            try:
                await job()
            except Exception:  # one node must not stop the rest
                logger.exception("node cannot be compared", extra={"node": node})

    async def _handle(self, call: Call, entry: Entry) -> None:
        """Serve one message and answer it, whatever happens."""
        resource_type = call.resource.resource_type
        with self._metrics.query_seconds.time(resource_type):
            async with self._places[entry.places].take(call.node):
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
            self._metrics.refused.inc(status.reason or str(status.code))
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


async def _run(job: Job) -> None:
    await job()


def _unserved(call: Call) -> Status:
    operation, resource_type = call.message.operation, call.resource.resource_type
    return failure(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"cloudcore does not serve {operation} of {resource_type[:64]}",
        kind=resource_type[:64],
        name=call.resource.name,
    )
