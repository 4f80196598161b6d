"""The module EdgeHub: one connection to the cloud, made again whenever it is lost.

It takes what MetaManager wants to say, in its mailbox, and puts what the cloud says on the bus. The
rest of the node never waits for it: without a link every request is refused at once (503), and what
was asked when the link broke is refused then.

Source: KubeEdge edge/pkg/edgehub (headers, keepalive, path). Unlike there, silence is noticed by
the edge too, a failed connection is tried again after half a second and not after thirty, and
nothing that was received is dropped to make room.

``session`` has what goes over one connection, ``network`` what of the world can be made up.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal
from common.capabilities import render
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import CertificateError, LinkError, MailboxClosedError
from common.names import LINK_RESOURCE, GroupName, LinkState, ModuleName, Operation
from common.status import failure
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.network import Credentials, Network, OpenLink
from edgecore.edgehub.session import Session, Surroundings
from edgecore.edgehub.standing import Standing
from edgecore.edgehub.transfers import Transfers
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

PROVEN_AFTER_S: Final = 30.0
"""A connection that lived this long has proved that connecting works: the next pause is short."""

_BACKOFF: Final = BackoffPolicy(first_s=0.5, cap_s=10.0, jitter=0.6)
_FLUSH_S: Final = 2.0
_BATCH: Final = 64


class EdgeHub:
    """Stay connected."""

    name, group = ModuleName.EDGE_HUB, GroupName.HUB

    def __init__(
        self,
        context: MessageContext,
        config: HubConfig,
        credentials: Credentials,
        clock: Clock,
        metrics: EdgeMetrics,
        network: Network | None = None,
    ) -> None:
        """Make the module; it connects once ``run`` is called.

        Args:
            context: the bus.
            config: where the cloud is.
            credentials: whom to connect as.
            clock: for durations; it learns the cloud's time.
            metrics: of this daemon.
            network: a made-up one; the real one if None.
        """
        self._context, self._config, self._credentials = context, config, credentials
        self._clock, self._metrics = clock, metrics
        self._network = network or Network()
        self._around = Surroundings(
            context, config, clock, metrics, Transfers(), self._network.random_unit
        )
        self._session: Session | None = None  # of the open connection; None without one
        self._last_failure = ""
        self._standing = Standing(f"{config.cloud}:{config.websocket_port}")

    def tell(self) -> Mapping[str, object]:
        """Return how the link stands; may be called in any thread."""
        return self._standing.tell(self.waiting(), self._clock.known())

    def offline_s(self) -> float:
        """Return for how long there has been no connection; may be called in any thread."""
        return self._standing.offline_s(self._clock.now())

    def waiting(self) -> int:
        """Return how many messages wait for the cloud; may be called in any thread."""
        session = self._session
        return session.waiting if session else 0

    async def run(self) -> None:
        """Serve until the mailbox is closed; what is accepted by then is still written."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._stay_connected(), name="link")
                tasks.create_task(self._credentials.keep(), name="credentials")
                await self._serve_mailbox()
        except* MailboxClosedError:  # it has ended the link as well
            logger.debug("mailbox is closed and empty")

    async def _serve_mailbox(self) -> None:
        """Take what the others want to say, always: they may not wait for a slow link."""
        try:
            while True:
                for message in await self._context.receive_batch(self.name, limit=_BATCH):
                    self._accept(message)
        except MailboxClosedError:
            await self._flush()
            raise

    def _accept(self, message: Message) -> None:
        if message.operation is Operation.KEEPALIVE:
            if self._session is not None:
                self._session.sign(message)
        elif self._session is None:
            self._decline(message, "not connected", "not_connected")
        elif not self._session.offer(message):
            self._decline(message, "too much waits for the cloud", "full")

    def _decline(self, message: Message, text: str, reason: str) -> None:
        """Refuse a request, drop anything else; count either."""
        if message.header.sync:
            self._metrics.refused.inc(reason)
            self._context.send_resp(refusal(message, failure(503, text), source=self.name))
        else:
            self._metrics.dropped.inc(reason)
            fields = {"why": reason, "resource": message.resource}
            logger.debug("message for the cloud is dropped", extra=fields)

    async def _flush(self) -> None:
        if self._session is None:
            return
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._session.drain()
        except TimeoutError:
            logger.debug("the link was too slow for what was left to say")

    async def _stay_connected(self) -> None:
        backoff = Backoff(_BACKOFF, self._network.random_unit)
        while True:
            started_s = self._clock.monotonic()
            error = await self._connect()
            if _is_to_end():
                raise asyncio.CancelledError
            lived_s = self._clock.monotonic() - started_s
            # Two edges with one name would replace each other for ever, each time at once.
            if lived_s > PROVEN_AFTER_S and _reason(error) != "replaced":
                backoff.reset()
            pause_s = backoff.next_s()
            self._report(error, pause_s)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> LinkError | CertificateError:
        """Connect and exchange messages; return why there is no connection any more."""
        config = self._config
        try:
            tls = await self._credentials.tls()
            async with self._network.dial(
                config.uri, config.headers, tls, handshake_s=config.handshake_s
            ) as link:
                return await self._serve(link)
        except CertificateError as error:
            await self._credentials.doubt()
            return error
        except LinkError as error:
            if isinstance(error, LinkLostError) and error.is_certificate:
                await self._credentials.doubt()
            return error

    def _report(self, error: Exception, pause_s: float) -> None:
        """Say it once: a cloud that is away for a week is no news every thirty seconds."""
        self._metrics.connection_failures.inc(_reason(error))
        text = str(error)
        self._standing.failed(self._clock.now(), text)
        level = logging.DEBUG if text == self._last_failure else logging.WARNING
        self._last_failure = text
        logger.log(
            level,
            "no connection to the cloud",
            extra={
                "node": self._config.node_name,
                "uri": self._config.uri,
                "error": text,
                "retry_in_s": round(pause_s, 1),
            },
        )

    async def _serve(self, link: OpenLink) -> LinkError:
        """Exchange messages until the link is lost; return why it is."""
        session = self._session = Session(link, self._around)
        self._metrics.connections.inc()
        self._metrics.connected.inc()
        self._last_failure = ""
        self._standing.connected(self._clock.now(), link.version)
        fields = {
            "node": self._config.node_name,
            "protocol": link.protocol.value,
            "capabilities": render(link.capabilities),
        }
        logger.info("connected to the cloud", extra=fields)
        lost, began_s = LinkError("the link ended"), self._clock.monotonic()
        try:
            await self._tell_link(LinkState.CONNECTED, link)
            await session.run()
        except* LinkError as errors:
            lost = _first(errors)
        finally:
            self._metrics.connected.dec()
            self._end(session)
        lived_s = round(self._clock.monotonic() - began_s, 1)
        logger.info("disconnected from the cloud", extra={"connected_s": lived_s})
        await self._tell_link(LinkState.DISCONNECTED, link)
        return lost

    def _end(self, session: Session) -> None:
        self._session = None
        requests, lost = session.end()
        for request in requests:
            self._decline(request, "the link was lost", "link_lost")
        self._metrics.dropped.inc("link_lost", lost)

    async def _tell_link(self, state: LinkState, link: OpenLink) -> None:
        content = {
            "state": state.value,
            "protocol": link.protocol.value,
            "capabilities": sorted(link.capabilities),
        }
        message = new(self.name, GroupName.META, Operation.CONNECT, LINK_RESOURCE, raw(content))
        try:
            await self._context.send(ModuleName.META_MANAGER, message)
        except MailboxClosedError as error:
            raise LinkLostError("shutdown", "shutting down") from error


def _is_to_end() -> bool:
    """Whether this task was cancelled, and that was lost.

    A TaskGroup of Python 3.11 that is cancelled while a task of it fails tells of the failure only.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, LinkLostError) else "enrolment"


def _first(errors: BaseExceptionGroup[LinkError]) -> LinkError:
    """Return one of the errors: the parts of one link fail together."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
