"""What stands between the controller and the edge at an EdgeSite, in the place of the two hubs.

Both speak of objects without a ``node/<id>`` in front, so messages are handed on as they are. What
hubs see to besides is done here: who is let in and from when on, what a node may ask for, beats by
which the lease is renewed, and that what could not be stored comes again.

The edge is connected as soon as the controller's caches are in step; before that, and while the API
server is another cluster's, it goes on alone with what it has stored.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Struct

from cloudcore.cloudhub import intake, notes
from cloudcore.cloudhub.authorize import Locations
from cloudcore.cloudhub.intake import Intake
from cloudcore.metrics import CloudMetrics
from common import wire
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal
from common.capabilities import Capabilities, Capability
from common.clock import Clock
from common.errors import MailboxClosedError
from common.names import (
    CLUSTER_SCOPE,
    GroupName,
    ModuleName,
    NodeID,
    Operation,
    ResourceType,
)
from common.resource import build_resource
from common.status import Status, failure
from edgecore.metrics import EdgeMetrics
from edgesite.underway import Underway

logger = logging.getLogger(__name__)

CAPABILITIES: Final[Capabilities] = frozenset(
    {Capability.ACKS, Capability.BEATS, Capability.DIGEST}
)
"""All that makes sense without a wire."""


class _Connection(msgspec.Struct):
    connection: str


class Surroundings(Struct, frozen=True):
    """What the link stands in."""

    bus: MessageContext
    node: NodeID
    locations: Locations
    """For authorisation: the same rules hold as between the daemons."""

    cloud_metrics: CloudMetrics
    edge_metrics: EdgeMetrics
    admit: Callable[[], Awaitable[None]]
    """Returns as soon as the controller may be listened to; raises ``LinkLostError`` where it may
    not for now."""

    clock: Clock
    server: str = ""
    """The address of the API server, for those who ask."""

    silence_s: Callable[[], float] = lambda: 0.0
    """Returns for how many seconds the API server has not answered anything."""

    capabilities: Capabilities = CAPABILITIES


class Link:
    """The one connection of an EdgeSite, which both of its modules hand messages to."""

    def __init__(self, around: Surroundings) -> None:
        """Be without a connection until ``open`` is called."""
        self._around, self._bus, self._node = around, around.bus, around.node
        self._underway = Underway()
        self.connected = asyncio.Event()
        """Set while there is a connection."""
        self.ended = asyncio.Event()
        """Set when the controller wants the connection to end."""
        self.connection = ""
        """The id of the connection; empty where there is none."""
        self.wants_digest = False
        """Whether the controller has asked for a digest of what the edge holds."""

    def open(self, connection: str) -> None:
        """Begin a connection, of which ``connection`` is the id."""
        self.connection, self._underway, self.wants_digest = connection, Underway(), False
        self.ended.clear()
        self.connected.set()

    def close(self) -> None:
        """Be without a connection; what is under way to the edge is found out by the next one."""
        self.connection = ""
        self.connected.clear()
        self._around.cloud_metrics.dropped.inc("disconnected", self._underway.forget())

    def waiting(self) -> int:
        """Return how many messages wait for the controller; may be called in any thread."""
        return self._underway.asked

    def backlog(self, node: NodeID) -> int:
        """Return how many objects the edge has not stored yet."""
        assert node == self._node
        return self._underway.objects

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way to the edge."""
        return not self._underway.objects and not self._bus.pending()[ModuleName.CLOUD_HUB]

    # --- from the edge ---------------------------------------------------------------------------

    async def up(self, message: Message) -> None:
        """Hand on what MetaManager says: a request, or that something is stored."""
        if not self.connection:
            self._decline(message, "not connected", "not_connected")
            return
        verdict = intake.judge(self._node, message, self._around.locations)
        match verdict.intake:
            case Intake.FORWARD:
                await self._ask(message)
            case Intake.ACK:
                self._note_stored(message)
            case Intake.REFUSE:
                assert verdict.status is not None
                self._refuse(message, verdict.status)
            case _:
                metrics = self._around.cloud_metrics
                notes.dropped(metrics, self._node, "unserved", message, logging.DEBUG)

    async def beat(self, *, progresses: bool, digest: str | None) -> None:
        """Tell the controller that the edge lives, and whether it does its work.

        Args:
            progresses: without it the lease is not renewed.
            digest: of what the edge-store holds, 16 hexadecimal digits, where it is known.
        """
        if digest is not None:
            self.wants_digest = False
        said = {
            "connection": self.connection,
            "progresses": progresses,
            "digest": digest,
            "is_quiet": self.is_quiet,
            "backlog": self._underway.objects,
        }
        message = about_node(self._node, Operation.KEEPALIVE, said)
        await self._bus.send(ModuleName.EDGE_CONTROLLER, message)

    async def remind(self) -> None:
        """Have the edge compared if it has not stored in time what it was sent.

        It waits while MetaManager has much to do, which ``up`` and ``beat`` never do: MetaManager
        may be waiting for these.
        """
        if lost := self._underway.give_up(asyncio.get_running_loop().time()):
            logger.warning("objects could not be stored, and are sent again", extra={"lost": lost})
            self._around.cloud_metrics.dropped.inc("not_stored", lost)
            await self._ask_inventory()

    async def _ask(self, message: Message) -> None:
        if self._underway.ask(message.msg_id, is_awaited=message.header.sync):
            await self._bus.send(ModuleName.EDGE_CONTROLLER, message)
        else:
            self._decline(message, "too much waits for the API server", "full")

    def _note_stored(self, message: Message) -> None:
        msg_ids = intake.acknowledged(message, self._around.capabilities)
        self._around.cloud_metrics.acknowledged.inc(self._underway.acknowledge(msg_ids))

    def _refuse(self, message: Message, status: Status) -> None:
        reason, text = status.reason, status.message
        notes.refused(self._around.cloud_metrics, self._node, reason, text)
        self._bus.send_resp(intake.refuse(message, status))

    def _decline(self, message: Message, text: str, reason: str) -> None:
        """Refuse a request in the place of the controller, drop anything else; count either."""
        metrics = self._around.edge_metrics
        if message.header.sync:
            metrics.refused.inc(reason)
            status = failure(503, text)
            self._bus.send_resp(refusal(message, status, source=ModuleName.EDGE_HUB))
        else:
            metrics.dropped.inc(reason)
            fields = {"why": reason, "resource": message.resource}
            logger.debug("message for the controller is dropped", extra=fields)

    # --- from the controller ---------------------------------------------------------------------

    async def down(self, message: Message) -> None:
        """Hand on what the controller says: an answer, an object, or a wish of its own."""
        match message.operation:
            case Operation.RESPONSE:
                self._answer(message)
            case Operation.KEEPALIVE:
                self.wants_digest = True
            case Operation.DISCONNECTED:
                named = wire.loads_as(message.content, _Connection).connection
                if named == self.connection:
                    self.ended.set()
            case Operation.QUERY:
                await self._ask_inventory()
            case _:
                await self._send(message)

    def _answer(self, message: Message) -> None:
        is_awaited = self._underway.answer(message.parent_id)
        if not self._bus.send_resp(message) and is_awaited:
            metrics = self._around.cloud_metrics
            notes.dropped(metrics, self._node, "late_reply", message, logging.DEBUG)

    async def _send(self, message: Message) -> None:
        metrics = self._around.cloud_metrics
        if not self.connection:  # what the edge lacks is found out when it is connected
            notes.dropped(metrics, self._node, "not_connected", message, logging.DEBUG)
            return
        metrics.offered.inc()
        self._underway.send(message.msg_id, asyncio.get_running_loop().time())
        try:
            await self._bus.send(ModuleName.META_MANAGER, message)
        except MailboxClosedError:  # it stops; what the edge lacks is found out at the next start
            notes.dropped(metrics, self._node, "disconnected", message, logging.DEBUG)

    async def _ask_inventory(self) -> None:
        """Have the edge say all that it holds, which is then compared."""
        resource = build_resource(
            "", CLUSTER_SCOPE, ResourceType.INVENTORY, self._node, edge_site=True
        )
        source, group = ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE
        await self._bus.send(ModuleName.META_MANAGER, new(source, group, Operation.QUERY, resource))


def about_node(node: NodeID, operation: Operation, said: object) -> Message:
    """Return what the hub says to the controller of a node as such."""
    return new(ModuleName.CLOUD_HUB, GroupName.RESOURCE, operation, f"node/{node}", raw(said))
