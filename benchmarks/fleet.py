"""Many peers with certificates, connections and beats of their own."""

import asyncio
import base64
import heapq
import random
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import picows

from benchmarks.peers import Listeners, Peer
from common import capabilities, issuing, pki, subjects, tls
from common.clock import rfc3339
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import EDGE_NODE_LABEL, NodeID, Operation, PeerProtocol
from deploy.devcluster.api import Api, Object
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK
from edgecore.edgehub.client import PROVEN_AFTER_S
from edgecore.edgehub.hubconfig import BEAT_S, PROJECT_ID

_AT_A_TIME: Final = 32  # that register and connect, at first
_RECONNECT: Final = BackoffPolicy(first_s=0.5, cap_s=10.0, jitter=0.6)  # as EdgeHub has it
_HANDSHAKE_S: Final = 30.0
_TICK_S: Final = 0.02  # beats that are due
_FAILURES: Final = (OSError, picows.WSError, TimeoutError)


@dataclass(slots=True)
class Timing:
    """What the fleet has noted since ``Fleet.note_anew``."""

    beat_answers_s: list[float]
    """From a beat to its answer."""

    in_step_s: dict[NodeID, float]
    """Monotonic, by node: when it was last told that it is in step."""

    failures: int = 0
    """Attempts to connect that came to nothing."""


def ignore(_: object) -> None:
    """Take no note."""


Admit = Callable[[NodeID], Awaitable[ssl.SSLContext]]
"""Makes a node known, and returns TLS with its certificate."""


class Fleet:
    """Peers for some nodes. An async context manager, which admits and connects them all.

    While it lasts they beat, each at its own phase, and connect again when they are cut off, as
    edges do. At its end all are disconnected; what is in the API stays.
    """

    def __init__(
        self,
        websocket_port: int,
        nodes: Sequence[NodeID],
        admit: Admit,
        greet: Callable[[Peer], None] = ignore,
    ) -> None:
        """Prepare the fleet; nothing is connected yet.

        Args:
            websocket_port: of cloudcore, on loopback.
            nodes: the peers' names.
            admit: called once for each node, before it connects.
            greet: called whenever a node is in step: what it then says.
        """
        self._websocket_port, self.nodes = websocket_port, list(nodes)
        self._admit, self._greet = admit, greet
        listeners = Listeners(self._arrived, self._in_step, self._beats, self._beat_answered)
        self.peers = {node: Peer(node, listeners) for node in self.nodes}
        self.on_beat: Callable[[NodeID], None] = ignore
        """Called when a node beats."""
        self.timing = Timing([], {})
        self._tls: dict[NodeID, ssl.SSLContext] = {}
        self._tasks: asyncio.TaskGroup
        self._stack = AsyncExitStack()
        self._expected: set[tuple[NodeID, str]] = set()
        self._all_arrived = asyncio.Event()
        self._all_in_step = asyncio.Event()
        self._last_arrival_s = 0.0
        self._due: list[tuple[float, NodeID, picows.WSTransport]] = []  # beats

    async def __aenter__(self) -> Self:
        """Admit and connect all peers, and wait until all are in step."""
        try:
            await self._begin()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect all peers."""
        await self._stack.aclose()
        for peer in self.peers.values():
            peer.cut()

    async def _begin(self) -> None:
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self.note_anew()
        self._start(self._beat_all())
        await for_each(self.nodes, self._join)
        await self.all_in_step(_HANDSHAKE_S + len(self.nodes) / 10)

    def cut(self) -> None:
        """Cut all connections at the same moment."""
        for peer in self.peers.values():
            peer.cut()

    # --- what is waited for ----------------------------------------------------------------------

    def expect(self, resources: dict[NodeID, list[str]]) -> None:
        """Forget what came before; ``arrive`` then waits for exactly this, by node."""
        self._expected = {(node, r) for node, listed in resources.items() for r in listed}
        self._all_arrived.clear()

    async def arrive(self, timeout_s: float) -> float:
        """Return the monotonic time at which the last expected message came."""
        async with asyncio.timeout(timeout_s):
            await self._all_arrived.wait()
        return self._last_arrival_s

    def note_anew(self) -> Timing:
        """Return what was noted, and begin anew: nobody is in step any more."""
        noted, self.timing = self.timing, Timing([], {})
        self._all_in_step.clear()
        return noted

    async def all_in_step(self, timeout_s: float) -> float:
        """Return the monotonic time at which the last node was in step, since ``note_anew``."""
        async with asyncio.timeout(timeout_s):
            await self._all_in_step.wait()
        return max(self.timing.in_step_s.values())

    def connected(self) -> int:
        """Return how many peers have a connection."""
        return sum(peer.transport is not None for peer in self.peers.values())

    # --- what peers tell -------------------------------------------------------------------------

    def _arrived(self, node: NodeID, resource: str) -> None:
        if (node, resource) not in self._expected:
            return
        self._expected.discard((node, resource))
        if not self._expected:
            self._last_arrival_s = time.monotonic()
            self._all_arrived.set()

    def _in_step(self, node: NodeID) -> None:
        self._greet(self.peers[node])
        self.timing.in_step_s[node] = time.monotonic()
        if len(self.timing.in_step_s) == len(self.nodes):
            self._all_in_step.set()

    def _beats(self, node: NodeID) -> None:
        self.on_beat(node)

    def _beat_answered(self, _: NodeID, after_s: float) -> None:
        self.timing.beat_answers_s.append(after_s)

    # --- connections and beats -------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._stack.callback(self._tasks.create_task(work, name="fleet").cancel)

    async def _join(self, node: NodeID) -> None:
        self._tls[node] = await self._admit(node)
        connected = asyncio.Event()
        self._start(self._stay_connected(self.peers[node], connected))
        await connected.wait()

    async def _stay_connected(self, peer: Peer, connected: asyncio.Event) -> None:
        backoff = Backoff(_RECONNECT)
        while True:
            try:
                transport = await self._connect(peer)
            except _FAILURES:
                self.timing.failures += 1
            else:
                connected.set()
                began_s = time.monotonic()
                # As with an edge: the second beat comes at a phase of the connection's own.
                due_s = began_s + random.random() * BEAT_S
                heapq.heappush(self._due, (due_s, peer.node, transport))
                await transport.wait_disconnected()
                if time.monotonic() - began_s > PROVEN_AFTER_S:
                    backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _connect(self, peer: Peer) -> picows.WSTransport:
        node = peer.node
        transport, _ = await picows.ws_connect(
            lambda: peer,
            f"wss://{LOOPBACK}:{self._websocket_port}/{PROJECT_ID}/{node}/events",
            ssl_context=self._tls[node],
            extra_headers={
                "node_id": node,
                "project_id": PROJECT_ID,
                "ConnectionUse": "msg",
                "Sec-WebSocket-Protocol": PeerProtocol.CLOUDEDGE_V1,
                capabilities.HEADER: capabilities.render(capabilities.ALL),
            },
            websocket_handshake_timeout=_HANDSHAKE_S,
        )
        return transport

    async def _beat_all(self) -> None:
        while True:
            now_s = time.monotonic()
            while self._due and self._due[0][0] <= now_s:
                due_s, node, transport = heapq.heappop(self._due)
                if self.peers[node].transport is transport:
                    self.peers[node].beat()
                    heapq.heappush(self._due, (max(due_s + BEAT_S, now_s), node, transport))
            await asyncio.sleep(_TICK_S)


async def registered(api: Api, cloud: CloudCore, count: int, *, prefix: str = "bench") -> Fleet:
    """Return a fleet whose Nodes and certificates are made here, without cloudcore."""
    secret = await api.get("/api/v1/namespaces/kubeedge/secrets/casecret")
    assert secret is not None
    authority = issuing.load_authority(
        *(base64.b64decode(secret["data"][key]) for key in ("cadata", "cakeydata"))
    )

    async def admit(node: NodeID) -> ssl.SSLContext:
        await api.create("/api/v1/nodes", node_object(node))
        return _client_context(authority, node)

    nodes = [NodeID(f"{prefix}-{number}") for number in range(count)]
    return Fleet(cloud.websocket_port, nodes, admit, say_status)


def say_status(peer: Peer) -> None:
    """Say the Node's status as an edge does when it has connected: nothing of it has changed."""
    peer.ask(Operation.PATCH, f"null/nodepatch/{peer.node}", "{}")


def _client_context(authority: issuing.Authority, node: NodeID) -> ssl.SSLContext:
    key = pki.new_key()
    issued = issuing.issue_node(authority, subjects.new_csr(key, node), node, datetime.now(UTC))
    with tempfile.NamedTemporaryFile(prefix="cloudedge-bench-") as file:
        file.write(pki.cert_to_pem(issued.der).encode() + b"\n" + pki.key_to_pem(key))
        file.flush()
        return tls.client_context(authority.pem, Path(file.name))


def node_object(node: NodeID) -> Object:
    """Return a Node that is Ready, as an edge registers it; only the lease keeps it so."""
    now = rfc3339(datetime.now(UTC))
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Bench",
        "message": "it is",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    labels = {EDGE_NODE_LABEL: "", "kubernetes.io/hostname": node}
    return {"metadata": {"name": node, "labels": labels}, "status": {"conditions": [ready]}}


async def delete_nodes(api: Api, fleet: Fleet) -> None:
    """Delete the Nodes of a fleet; a cloudcore that goes on then forgets them."""
    await for_each(fleet.nodes, lambda node: api.delete(f"/api/v1/nodes/{node}"))


async def for_each(
    nodes: Sequence[NodeID], action: Callable[[NodeID], Coroutine[Any, Any, None]]
) -> None:
    """Do ``action`` for each node, some at a time."""
    places = asyncio.Semaphore(_AT_A_TIME)

    async def one(node: NodeID) -> None:
        async with places:
            await action(node)

    async with asyncio.TaskGroup() as group:
        for node in nodes:
            group.create_task(one(node))
