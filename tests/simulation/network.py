"""The network of the simulation: connections between edges and cloudcores, and what befalls them.

A connection carries whole WebSocket messages, in order and each once, as TCP does, unless it is
told to repeat or to mix them up. It can be cut, be silent for a while or for ever, be slow, and
narrow.
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from cloudcore.cloudhub.connection import Receiver
from common.capabilities import HEADER, NONE, Capabilities, parse, render
from common.names import NodeID, PeerProtocol
from edgecore.edgehub.link import LinkLostError
from tests.simulation.virtualloop import NOBODY, Daemon, VirtualLoop

KERNEL_BYTES: Final = 16 * 1024
"""What fits into the buffers of both kernels."""

WRITE_LIMIT_BYTES: Final = 16 * 1024
REPLACED: Final = 4409


class Frame(NamedTuple):
    """A WebSocket message."""

    payload: bytes
    is_text: bool


class Site(Protocol):
    """A cloudcore, as far as the network needs one."""

    daemon: Daemon

    def accept(self, wire: "CloudEnd") -> Receiver | None:
        """Return who gets what comes; None where nobody listens."""


@dataclass
class Weather:
    """How the links of one node are; what is changed holds from now on."""

    latency_s: float = 0.005
    jitter_s: float = 0.005
    bytes_per_s: float = 0.0
    """0 for no limit."""

    is_cut: bool = False
    """No connection can be made, and attempts are not even refused."""

    is_mute: bool = False
    """What is sent does not arrive, and nobody is told; it arrives when this is over."""

    repeats: float = 0.0
    """How likely a message is repeated, 0 to 1."""

    mixes: float = 0.0
    """How likely a message is late, and overtaken by others."""


class Watcher(Protocol):
    """Sees what is sent and what arrives: the model."""

    def sent_up(self, node: NodeID, frame: Frame) -> None:
        """An edge has sent ``frame``."""

    def sent_down(self, node: NodeID, frame: Frame) -> None:
        """A cloudcore has sent ``frame``."""

    def arrived_down(self, node: NodeID, frame: Frame) -> None:
        """``frame`` has come to the edge."""

    def may_be_mixed(self, frame: Frame) -> bool:
        """Whether ``frame`` makes sense also when it comes twice, or late."""


class Pipe:
    """One direction of a connection."""

    def __init__(
        self, network: "Network", weather: Weather, deliver: Callable[[Frame], None]
    ) -> None:
        self._network, self._weather, self._deliver = network, weather, deliver
        self._loop = network.loop
        self._waiting: list[tuple[float, int, Frame]] = []
        self._number = 0
        self._free_s = self._last_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_open = True
        self.queued_bytes = 0
        self.on_drained: Callable[[], None] = lambda: None

    @property
    def unsent_bytes(self) -> int:
        """What has not left the sender."""
        return max(0, self.queued_bytes - KERNEL_BYTES)

    def send(self, frame: Frame) -> None:
        """Have ``frame`` arrive, if it does."""
        weather, rng = self._weather, self._network.rng
        if not self.is_open:
            return
        now_s = self._loop.time()
        narrow_s = len(frame.payload) / weather.bytes_per_s if weather.bytes_per_s else 0.0
        self._free_s = max(now_s, self._free_s) + narrow_s
        arrives_s = self._free_s + weather.latency_s + rng.random() * weather.jitter_s
        # In order, as TCP has it.
        self._last_s = arrives_s = max(arrives_s, self._last_s)
        mixable = bool(weather.repeats or weather.mixes) and self._network.watcher.may_be_mixed(
            frame
        )
        if mixable and rng.random() < weather.repeats:
            self._push(arrives_s + rng.random() * 3.0, frame)
        if mixable and rng.random() < weather.mixes:
            arrives_s += rng.random() * 3.0
        self._push(arrives_s, frame)

    def wake(self) -> None:
        """Look what has to arrive: the weather has changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self.is_open and not self._weather.is_mute:
            self._timer = self._loop.call_at(self._waiting[0][0], self._arrive, context=NOBODY)

    def close(self) -> None:
        """Lose whatever is under way."""
        self.is_open = False
        self._waiting.clear()
        self.queued_bytes = 0
        self.wake()

    def _push(self, arrives_s: float, frame: Frame) -> None:
        self._number += 1
        self.queued_bytes += len(frame.payload)
        heapq.heappush(self._waiting, (arrives_s, self._number, frame))
        if self._waiting[0][1] == self._number or self._timer is None:
            self.wake()

    def _arrive(self) -> None:
        self._timer = None
        now_s = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now_s and self.is_open:
            _, _, frame = heapq.heappop(self._waiting)
            self.queued_bytes -= len(frame.payload)
            self._deliver(frame)
        self.wake()
        self.on_drained()


class CloudEnd:
    """A connection as a session sees it: ``cloudcore.cloudhub.session.Wire``."""

    def __init__(self, connection: "Connection", node: NodeID, capabilities: Capabilities) -> None:
        self._connection = connection
        self.node, self.capabilities = node, capabilities
        self.serial = 0
        self.peer_protocol = PeerProtocol.CLOUDEDGE_V1
        self.last_received_s = asyncio.get_running_loop().time()
        self.is_writable = True
        self.received_bytes = self.sent_bytes = 0
        self.receiver: Receiver | None = None
        self._is_paused = False
        self._held: deque[Frame] = deque()
        self._prepared: list[Frame] = []

    def send(self, payload: bytes, *, is_text: bool) -> None:
        """Prepare a frame."""
        self._prepared.append(Frame(payload, is_text))

    def flush(self) -> None:
        """Send what was prepared."""
        prepared, self._prepared = self._prepared, []
        for frame in prepared:
            self._connection.send_down(frame)
        self.is_writable = self.unsent_bytes() <= WRITE_LIMIT_BYTES

    def close(self, code: int, reason: str) -> None:
        """Send what was prepared, then say goodbye; the edge answers by going."""
        self.flush()
        self._connection.say_goodbye(code, reason)

    def abort(self) -> None:
        """Cut it."""
        self._connection.end_by_cloud("aborted by the cloud")

    def unsent_bytes(self) -> int:
        """Return what has not left this end."""
        return self._connection.down.unsent_bytes

    def pause_reading(self) -> None:
        """Keep what comes."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Give out what was kept."""
        self._is_paused = False
        while self._held and not self._is_paused:
            self._give(self._held.popleft())

    def drained(self) -> None:
        """Say that there is room again."""
        if not self.is_writable and self.unsent_bytes() <= WRITE_LIMIT_BYTES:
            self.is_writable = True
            if self.receiver is not None:
                self.receiver.writable()

    def take(self, frame: Frame) -> None:
        """Receive ``frame``."""
        self.last_received_s = asyncio.get_running_loop().time()
        self.received_bytes += len(frame.payload)
        if self._is_paused:
            self._held.append(frame)
        else:
            self._give(frame)

    def _give(self, frame: Frame) -> None:
        if self.receiver is not None:
            self.receiver.received(frame.payload, is_text=frame.is_text)


class EdgeEnd:
    """A connection as edgehub sees it: ``edgecore.edgehub.link.Link``."""

    protocol = PeerProtocol.CLOUDEDGE_V1
    cluster = authority = version = ""
    certificate = b""

    def __init__(self, connection: "Connection", capabilities: Capabilities) -> None:
        self._connection = connection
        self.capabilities = capabilities
        self._received_s = asyncio.get_running_loop().time()
        self._frames: deque[Frame] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.lost: LinkLostError | None = None

    def idle_s(self) -> float:
        """Return for how long nothing has come."""
        return asyncio.get_running_loop().time() - self._received_s

    async def send_text(self, text: bytes) -> None:
        """Send a text frame; wait while the link takes nothing."""
        await self._send(text, is_text=True)

    async def send_binary(self, payload: bytes) -> None:
        """Send a binary frame; wait while the link takes nothing."""
        await self._send(payload, is_text=False)

    async def _send(self, payload: bytes, *, is_text: bool) -> None:
        if self.lost is not None:
            raise self.lost
        self._connection.send_up(Frame(payload, is_text))
        while self._connection.up.unsent_bytes > WRITE_LIMIT_BYTES:
            await asyncio.sleep(0.1)
            if self.lost is not None:
                raise self.lost

    async def receive(self) -> str | bytes:
        """Return the next frame: text, or the bytes of a binary one."""
        while not self._frames:
            if self.lost is not None:
                raise self.lost
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        frame = self._frames.popleft()
        return frame.payload.decode() if frame.is_text else frame.payload

    async def ping(self, patience_s: float) -> None:
        """Ask the other end, whose library answers."""
        del patience_s
        if self.lost is not None:
            raise self.lost
        self._connection.ping()

    async def close(self, code: int, reason: str) -> None:
        """End it."""
        del code, reason
        self._connection.end_by_edge("closed by the edge")

    def take(self, frame: Frame) -> None:
        """Receive ``frame``."""
        self.hear()
        self._frames.append(frame)
        self._wake()

    def hear(self) -> None:
        """Note a sign of life."""
        self._received_s = asyncio.get_running_loop().time()

    def lose(self, error: LinkLostError) -> None:
        """Come to an end, behind what has arrived."""
        self.lost = self.lost or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection:
    """Both ends, and the pipes between them."""

    def __init__(
        self, network: "Network", node: NodeID, edge: Daemon, capabilities: Capabilities
    ) -> None:
        self.node, self.network, self.edge = node, network, edge
        weather = network.weather[node]
        self.cloud: Daemon | None = None
        self.is_open = True
        self.up = Pipe(network, weather, self._arrive_up)
        self.down = Pipe(network, weather, self._arrive_down)
        self.cloud_end = CloudEnd(self, node, capabilities)
        self.edge_end = EdgeEnd(self, capabilities)
        self.down.on_drained = self._drained

    def send_up(self, frame: Frame) -> None:
        """Send from the edge."""
        self.network.watcher.sent_up(self.node, frame)
        self.up.send(frame)

    def send_down(self, frame: Frame) -> None:
        """Send from the cloud."""
        self.network.watcher.sent_down(self.node, frame)
        self.down.send(frame)

    def ping(self) -> None:
        """Have the edge hear from the cloud, if the link is sound and the cloud lives."""
        weather = self.network.weather[self.node]
        if not weather.is_mute and self.cloud is not None and self.cloud.is_alive:
            delay_s = 2 * weather.latency_s
            self.network.loop.call_later(delay_s, self.edge_end.hear, context=NOBODY)

    def say_goodbye(self, code: int, reason: str) -> None:
        """Let the edge know why it ends, behind all that was sent; it answers by going."""
        word = "replaced" if code == REPLACED else "closed"
        error = LinkLostError(word, f"closed by the cloud: {code} {reason}")
        weather = self.network.weather[self.node]

        def arrive() -> None:
            if self.is_open and not weather.is_mute:
                self.edge_end.lose(error)
                self.cut(reason)

        delay_s = weather.latency_s + weather.jitter_s + 0.01
        self.network.loop.call_later(delay_s, arrive, context=NOBODY)

    def cut(self, why: str) -> None:
        """Lose the connection: both ends hear of it."""
        self._close()
        self.lose_edge(why)
        self.lose_cloud()

    def end_by_edge(self, why: str) -> None:
        """End it from below; where the link is mute the cloud has to find out by itself."""
        self._close()
        self.lose_edge(why)
        if self.network.weather[self.node].is_mute:
            self.network.untold.append(self.lose_cloud)
        else:
            self.lose_cloud()

    def end_by_cloud(self, why: str) -> None:
        """End it from above; where the link is mute the edge has to find out by itself."""
        self._close()
        self.lose_cloud()
        if self.network.weather[self.node].is_mute:
            self.network.untold.append(lambda: self.lose_edge(why))
        else:
            self.lose_edge(why)

    def lose_edge(self, why: str) -> None:
        """Tell edgehub that the connection is gone."""
        self.edge_end.lose(LinkLostError("broken", why))

    def lose_cloud(self) -> None:
        """Tell the session that the connection is gone."""
        receiver, self.cloud_end.receiver = self.cloud_end.receiver, None
        if receiver is not None and self.cloud is not None:
            self.network.loop.tell(self.cloud, receiver.lost, None)

    def _close(self) -> None:
        if self.is_open:
            self.is_open = False
            self.up.close()
            self.down.close()
            self.network.connections.remove(self)

    def _drained(self) -> None:
        if self.cloud is not None and not self.cloud_end.is_writable:
            self.network.loop.tell(self.cloud, self.cloud_end.drained)

    def _arrive_up(self, frame: Frame) -> None:
        if self.cloud is not None:
            self.network.loop.tell(self.cloud, self.cloud_end.take, frame)

    def _arrive_down(self, frame: Frame) -> None:
        if self.edge.is_alive:
            self.network.watcher.arrived_down(self.node, frame)
            self.edge_end.take(frame)


@dataclass
class Network:
    """All links."""

    loop: VirtualLoop
    rng: random.Random
    watcher: Watcher
    weather: dict[NodeID, Weather] = field(default_factory=dict)
    sites: list[Site] = field(default_factory=list)
    cloud_capabilities: Capabilities = NONE
    connections: list[Connection] = field(default_factory=list)
    untold: list[Callable[[], None]] = field(default_factory=list)
    """Tells those who do not know that their connection is gone."""

    @asynccontextmanager
    async def dial(
        self, edge: Daemon, headers: Mapping[str, str], *, handshake_s: float
    ) -> AsyncIterator[EdgeEnd]:
        """Connect to some cloudcore that listens; what ``edgecore.edgehub.link.dial`` does.

        Raises:
            LinkLostError: there is none, or no way to it.
        """
        node = NodeID(headers["node_id"])
        weather = self.weather[node]
        await asyncio.sleep(2 * weather.latency_s + self.rng.random() * 0.01)
        if weather.is_cut or weather.is_mute:
            await asyncio.sleep(handshake_s)
            raise LinkLostError("timeout", "the cloud did not answer in time")
        connection = self._connect(node, edge, parse(headers.get(HEADER)))
        try:
            yield connection.edge_end
        finally:
            connection.end_by_edge("the edge has gone")

    def _connect(self, node: NodeID, edge: Daemon, offered: Capabilities) -> Connection:
        capabilities = parse(render(offered & self.cloud_capabilities))
        sites = [site for site in self.sites if site.daemon.is_alive]
        self.rng.shuffle(sites)
        for site in sites:
            connection = Connection(self, node, edge, capabilities)
            receiver = site.accept(connection.cloud_end)
            if receiver is not None:
                connection.cloud = site.daemon
                connection.cloud_end.receiver = receiver
                self.connections.append(connection)
                return connection
        raise LinkLostError("refused", "nobody listens")

    def cut(self, node: NodeID) -> None:
        """Cut what ``node`` has open."""
        for connection in [one for one in self.connections if one.node == node]:
            connection.cut("reset")

    def changed(self, node: NodeID) -> None:
        """Take note that the weather of ``node`` is another one."""
        for connection in self.connections:
            if connection.node == node:
                connection.up.wake()
                connection.down.wake()
        if not any(weather.is_mute for weather in self.weather.values()):
            untold, self.untold = self.untold, []
            for tell in untold:
                tell()

    def died(self, daemon: Daemon) -> None:
        """Have the connections of a killed process reset by its kernel."""
        for connection in list(self.connections):
            if connection.edge is daemon:
                connection.end_by_edge("reset by the peer")
            elif connection.cloud is daemon:
                connection.end_by_cloud("reset by the peer")
