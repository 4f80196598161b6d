"""Brings nodes in step: what they report is compared, and who cannot report is sent everything.

Our own edges send an inventory when they connect and when they are asked, and a digest every few
minutes. A KubeEdge edge is sent all that it should have. All of it waits until the caches are in
step with the API server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from cloudcore.edgecontroller.downstream import DownstreamController
from cloudcore.edgecontroller.reader import ObjectReader
from cloudcore.edgecontroller.sender import Sender
from cloudcore.edgecontroller.state import ClusterState
from cloudcore.kube.client import KubeClient
from cloudcore.metrics import CloudMetrics
from cloudcore.synccontroller.comparison import Comparison
from cloudcore.synccontroller.digests import Digests
from cloudcore.synccontroller.everything import Everything
from cloudcore.synccontroller.newest import Newest
from cloudcore.synccontroller.records import Records
from cloudcore.synccontroller.refresher import Refresher
from cloudcore.synccontroller.report import parse_report
from common.errors import RemoteError
from common.names import NodeID
from common.status import failure

SYNC_TIMEOUT_S: Final = 50.0
"""How long an inventory waits for the caches; a little less than an edge waits for the answer."""

IN_STEP_S: Final = 10.0
"""How long a node waits that differs from caches which have lost the API server: others want the
place."""


class Resync:
    """What the controller's other parts know of all this."""

    def __init__(
        self,
        client: KubeClient,
        state: ClusterState,
        reader: ObjectReader,
        sender: Sender,
        downstream: DownstreamController,
        metrics: CloudMetrics,
    ) -> None:
        """Compare with what ``downstream`` keeps up to date in ``state``."""
        self._state, self._downstream = state, downstream
        self._holds, progress = downstream.holds, downstream.progress
        self._newest = Newest(client, state, progress, downstream.epochs)
        self._comparison = Comparison(state, reader, sender, self._holds)
        self._digests = Digests(state, reader, sender, downstream.doubts, metrics)
        self._everything = Everything(state, reader, sender, sender.context.backlog)
        self._records = Records(client, state, sender, progress, self._holds)
        self._refresher = Refresher(
            downstream.doubts,
            state.peers,
            sender,
            ready=(progress, downstream.absences),
            send_everything=self.send_everything,
        )

    async def run(self) -> None:
        """Do what nobody has asked for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._everything.run(), name="everything")
            group.create_task(self._refresher.run(), name="refresher")
            group.create_task(self._records.run(), name="records")

    async def answer(self, node: NodeID, content: object) -> dict[str, int]:
        """Compare what ``node`` reports with what it should have, and send the difference.

        Args:
            node: whose inventory it is.
            content: ``{"digest": "<16 hex>", "newest": {...}}``, or ``{"objects": [[type,
                namespace, name, uid, resourceVersion, "<16 hex>"], ...], "newest": {...}}``, where
                edges of the first version leave out the hash and ``newest``.

        Returns:
            ``{"updated": n, "deleted": m}``, when everything is on its way; to a digest that is
            not the expected one ``{"differs": true}``.

        Raises:
            RemoteError: 422, the content is no inventory; 503, the caches are not in step or older
                than what the node has, or the API server cannot be asked. Then the edge keeps what
                it has, and asks again.
        """
        report = parse_report(content)
        await self._wait_until_synced()
        await self._newest.await_caches(node, report.newest)
        self._digests.forget(node)
        if report.digest is not None and report.digest == await self._digests.expected(node):
            await self._holds.settled(node)
            return {"updated": 0, "deleted": 0}
        if report.knows_anything:
            await self._wait_until_in_step()
        if report.digest is not None:
            return {"differs": True}
        if report.knows_anything:
            self._downstream.note_stray(node)
        answer = await self._comparison.compare(node, report.held)
        if self._refresher.answered(node):
            await self._digests.confirm(node)
        return answer

    async def send_everything(self, node: NodeID) -> None:
        """Begin to send ``node``, which has no inventory, all it should have, as updates."""
        await self._downstream.synced.wait()
        self._everything.send(node)

    async def check(self, node: NodeID, connection: str, digest: str, *, is_quiet: bool) -> None:
        """Look whether a beat's ``digest`` is that of what ``node`` should have.

        Where it differs twice, with nothing under way, that is counted, and the node is compared.
        Nothing is looked at where it is known why it differs: while the caches are not in step, and
        where something is held.

        Args:
            node: who has beaten.
            connection: the id of its connection.
            digest: 16 hexadecimal digits.
            is_quiet: nothing waits for, or awaits acknowledgement by, the node.
        """
        is_known = self._state.locations.is_edge_node(node) and not self._holds.is_held(node)
        if is_known and self._downstream.synced.is_set() and self._downstream.progress.is_in_step:
            await self._digests.check(node, connection, digest, is_quiet=is_quiet)
        else:
            self._digests.forget(node)

    async def _wait_until_synced(self) -> None:
        async with _in_time(SYNC_TIMEOUT_S):
            await self._downstream.synced.wait()

    async def _wait_until_in_step(self) -> None:
        """Let nobody follow caches that may be older than what he has.

        An edge that never had anything, or has lost it, cannot be taken back: to it what is known
        is better than nothing, also while the API server is away.
        """
        async with _in_time(IN_STEP_S):
            await self._downstream.progress.in_step()


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        status = failure(HTTPStatus.SERVICE_UNAVAILABLE, "cloudcore's caches are not in step")
        raise RemoteError(status) from None
