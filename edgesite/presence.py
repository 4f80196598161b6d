"""Puts the edge of a site in touch with its controller, and tells how that stands."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from common.beehive.message import new, raw
from common.clock import rfc3339
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import LINK_RESOURCE, GroupName, LinkState, ModuleName, Operation, PeerProtocol
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.standing import Standing
from edgesite.link import Link, Surroundings, about_node

logger = logging.getLogger(__name__)

SILENT_S: Final = 30.0
"""Without an answer of the API server, though a lease is renewed every ten seconds: it is away."""

_BACKOFF: Final = BackoffPolicy(first_s=0.5, cap_s=10.0, jitter=0.6)


class Presence:
    """Opens the link when that may be, and says so to both sides in the words of the hubs."""

    def __init__(self, around: Surroundings, link: Link) -> None:
        """Open ``link`` once ``run`` is called."""
        self._around, self._link = around, link
        self._backoff = Backoff(_BACKOFF)
        self._last_failure = ""
        self._standing = Standing(around.server)

    def tell(self) -> Mapping[str, object]:
        """Return how the link stands; may be called in any thread.

        Controller and edge are connected while the API server is away, which is no use to those who
        ask: to them the site is not connected then.
        """
        clock, silence_s = self._around.clock, self._around.silence_s()
        told = self._standing.tell(self._link.waiting(), clock.known())
        if not told["connected"] or silence_s < SILENT_S:
            return told
        since = rfc3339(clock.now() - timedelta(seconds=silence_s))
        failure = "the API server does not answer"
        return told | {"connected": False, "since": since, "failure": failure}

    def offline_s(self) -> float:
        """Return for how long the API server is away; may be called in any thread."""
        if not self._link.connection:
            return self._standing.offline_s(self._around.clock.now())
        silence_s = self._around.silence_s()
        return silence_s if silence_s >= SILENT_S else 0.0

    async def run(self) -> None:
        """Be connected whenever that may be; until cancelled."""
        self._standing.failed(self._around.clock.now(), "the API server has told nothing yet")
        while True:
            try:
                await self._around.admit()
                await self._connect()
                error = await self._until_ended()
            except LinkLostError as failed:
                error = failed
            pause_s = self._backoff.next_s()
            self._report(error, pause_s)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> None:
        hello = {
            "protocol": PeerProtocol.CLOUDEDGE_V1.value,
            "capabilities": sorted(self._around.capabilities),
        }
        connected = about_node(self._around.node, Operation.CONNECTED, hello)
        self._last_failure = ""
        self._link.open(connected.msg_id)
        self._standing.connected(self._around.clock.now())
        self._around.edge_metrics.connections.inc()
        self._around.edge_metrics.connected.inc()
        logger.info("in touch with the API server", extra={"node": self._around.node})
        await self._around.bus.send(ModuleName.EDGE_CONTROLLER, connected)
        await self._tell_edge(LinkState.CONNECTED, hello)

    async def _until_ended(self) -> LinkLostError:
        await self._link.ended.wait()
        self._link.close()
        self._around.edge_metrics.connected.dec()
        await self._tell_edge(LinkState.DISCONNECTED, {})
        text = (
            f"another cloudcore serves node {self._around.node}: give this site a name of its own"
        )
        return LinkLostError("replaced", text)

    async def _tell_edge(self, state: LinkState, content: Mapping[str, object]) -> None:
        source, said = ModuleName.EDGE_HUB, raw({"state": state.value, **content})
        message = new(source, GroupName.META, Operation.CONNECT, LINK_RESOURCE, said)
        await self._around.bus.send(ModuleName.META_MANAGER, message)

    def _report(self, error: LinkLostError, pause_s: float) -> None:
        """Say it once: an API server that is away for a week is no news every ten seconds."""
        self._around.edge_metrics.connection_failures.inc(error.reason)
        text = str(error)
        self._standing.failed(self._around.clock.now(), text)
        level = logging.DEBUG if text == self._last_failure else logging.WARNING
        self._last_failure = text
        fields = {"node": self._around.node, "error": text, "retry_in_s": round(pause_s, 1)}
        logger.log(level, "not in touch with the API server", extra=fields)
