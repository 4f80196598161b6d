"""Renews the leases of connected nodes on their behalf, so that no renewal travels over a link.

A node whose connection has beats sends no leases. Its lease is taken over when it connects, and
renewed for each beat that says that the node does its work. A renewal that was not made yet is not
made twice, and what fails is made again with the next beat: an API server that is away or busy
builds nothing up. In what order and how fast: ``renewals``; how one is written: ``leasewriter``.
"""

import asyncio
import logging
import socket
from typing import Final

from cloudcore.edgecontroller.leasewriter import LeaseClient, LeaseWriter, Outcome, Tenure
from cloudcore.edgecontroller.renewals import Renewals
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.metrics import CloudMetrics
from common.beehive.message import new, raw
from common.clock import Clock
from common.errors import MailboxClosedError, RemoteError
from common.names import GroupName, ModuleName, NodeID, Operation

logger = logging.getLogger(__name__)

AT_A_TIME: Final = 128
"""Leases that are being written; what it costs is connections to the API server."""

ATTEMPT_S: Final = 10.0
"""For writing one lease, whatever is tried within; then there is a newer beat to write it for."""

LEAST_S: Final = 4.0
"""Between two renewals for one node: whoever beats faster costs hardly more than the others do."""

_LATE: Final = "late"
_FAULT: Final = "fault"


class LeaseKeeper:
    """Keeps the leases of the nodes that are connected to this cloudcore.

    Its methods but ``run`` do not wait. After ``disconnected`` nothing is written for a node but
    what is on its way already.
    """

    def __init__(
        self, client: LeaseClient, state: ClusterState, sender: Sender, metrics: CloudMetrics
    ) -> None:
        """Write by ``client``; tell the hub by ``sender`` which connections are to be ended."""
        self._clock = Clock()
        self._writer = LeaseWriter(client, state, self._clock)
        self._sender, self._peers = sender, state.peers
        self._writes, self._seconds = metrics.lease_writes, metrics.lease_seconds
        self._replica = socket.gethostname()
        self._tenures: dict[NodeID, Tenure] = {}
        self._renewals = Renewals()
        self._wanted = asyncio.Event()
        self._is_failing = False

    def connected(self, node: NodeID, connection: str) -> None:
        """Take over the lease of ``node``, which has come by a connection with beats."""
        self._end(node)
        holder = f"{self._replica}/{connection}"
        tenure = Tenure(node, connection, holder, self._clock.now())
        self._tenures[node] = tenure
        self._want(tenure)

    def beat(self, node: NodeID, connection: str, *, progresses: bool, backlog: int) -> None:
        """Take in that ``node`` lives; renew its lease only if it says that it ``progresses``.

        Args:
            node: whose beat it is.
            connection: by which it came.
            progresses: its modules do their work.
            backlog: objects that it has not acknowledged yet; the lease tells with its renewal.
        """
        tenure = self._tenures.get(node)
        if tenure is None or tenure.connection != connection:
            return  # the message has crossed with the end of that connection
        tenure.backlog = backlog
        _note_progress(tenure, progresses=progresses)
        if not progresses:
            tenure.beat_s = None
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - tenure.tried_s < LEAST_S:
            return
        if tenure.beat_s is None:
            tenure.beat_s = now_s
        self._want(tenure)

    def registered(self, node: NodeID) -> None:
        """Take note that ``node``, connected or not, has a Node now, as its lease needs one."""
        tenure = self._tenures.get(node)
        if tenure is not None and tenure.form is None:
            self._want(tenure)

    def disconnected(self, node: NodeID) -> None:
        """Leave the lease of ``node`` alone from now on."""
        self._end(node)
        self._renewals.drop(node)

    async def run(self) -> None:
        """Write leases until cancelled."""
        places = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as group:
            while True:
                await places.acquire()
                node = await self._next()
                group.create_task(self._serve(node, places), name=f"lease {node}")

    def _end(self, node: NodeID) -> None:
        tenure = self._tenures.pop(node, None)
        if tenure is not None:
            tenure.is_over = True

    def _want(self, tenure: Tenure) -> None:
        self._renewals.want(tenure.node, is_new=tenure.form is None)
        self._wanted.set()

    async def _next(self) -> NodeID:
        loop = asyncio.get_running_loop()
        while True:
            if not self._renewals:
                self._wanted.clear()
                await self._wanted.wait()
            elif pause_s := self._renewals.pause_s(loop.time()):
                await asyncio.sleep(pause_s)
            else:
                return self._renewals.take(len(self._tenures))

    async def _serve(self, node: NodeID, places: asyncio.Semaphore) -> None:
        try:
            tenure = self._tenures.get(node)
            if tenure is not None:
                await self._attempt(tenure)
        finally:
            places.release()
            self._renewals.done(node)
            self._wanted.set()

    async def _attempt(self, tenure: Tenure) -> None:
        """Write the lease once, and count what became of it."""
        beat_s, tenure.beat_s = tenure.beat_s, None
        if beat_s is not None:
            tenure.tried_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ATTEMPT_S):
                outcome = await self._writer.write(tenure, is_alive=beat_s is not None)
        except TimeoutError:
            self._note_failure(tenure, _LATE)
        except RemoteError as error:
            self._note_failure(tenure, str(error.status.code))
        except Exception:  # one lease must not stop the others
            logger.exception("lease cannot be written", extra={"node": tenure.node})
            self._writes.inc(_FAULT)
        else:
            self._writes.inc(outcome)
            if outcome is Outcome.OVERTAKEN:
                await self._resign(tenure)
            elif outcome is Outcome.NO_NODE and tenure.beat_s is None:
                tenure.beat_s = beat_s  # it vouches for the lease when there is a Node
            elif outcome in (Outcome.RENEWED, Outcome.CLAIMED):
                self._note_success(beat_s)

    async def _resign(self, tenure: Tenure) -> None:
        """Have our connection of the node ended, since it has a newer one."""
        if tenure.is_over:
            return
        self.disconnected(tenure.node)
        self._peers.disconnected(tenure.node)  # the hub tells of no end that it was asked for
        logger.info(
            "node is served by another cloudcore now",
            extra={"node": tenure.node, "connection": tenure.connection},
        )
        message = new(
            ModuleName.EDGE_CONTROLLER,
            GroupName.RESOURCE,
            Operation.DISCONNECTED,
            f"node/{tenure.node}",
            raw({"connection": tenure.connection}),
        )
        try:
            await self._sender.bus.send(self._sender.context.send_module, message)
        except MailboxClosedError:  # it stops, and ends all connections
            logger.debug("hub is closed", extra={"node": tenure.node})

    def _note_success(self, beat_s: float | None) -> None:
        if beat_s is not None:
            self._seconds.observe(asyncio.get_running_loop().time() - beat_s)
        if self._is_failing:
            self._is_failing = False
            logger.info("leases are renewed again")

    def _note_failure(self, tenure: Tenure, outcome: str) -> None:
        """Count it; where all fail, a line for the first one says enough."""
        self._writes.inc(outcome)
        level = logging.DEBUG if self._is_failing else logging.WARNING
        self._is_failing = True
        logger.log(
            level,
            "lease is not renewed, the next beat tries again",
            extra={"node": tenure.node, "outcome": outcome},
        )


def _note_progress(tenure: Tenure, *, progresses: bool) -> None:
    if progresses is tenure.progresses:
        return
    tenure.progresses = progresses
    if progresses:
        logger.info("edge makes progress again", extra={"node": tenure.node})
    else:
        logger.warning("edge makes no progress: no renewal", extra={"node": tenure.node})
