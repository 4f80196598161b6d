"""Many edges at the other end of real wss connections, as cheap as they can be made.

A peer acknowledges each message at once and notes when it came. It stores and runs nothing: what
is measured is cloudcore, and on two cores the peers must cost little. They speak through picows,
whose frames cost a third of what they cost in ``websockets``.
"""

import asyncio
import base64
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import picows

from common import pki, tls
from common.names import EDGE_NODE_LABEL, NodeID
from deploy.devcluster.api import Api
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK

_CONNECTING: Final = 16  # handshakes at a time
_PROJECT: Final = "e632aba927ea4ac2b575ec1603d56f10"
_KEEPALIVE_S: Final = 15.0
_KEEPALIVE: Final = (
    b'{"header":{"msg_id":"k","timestamp":1},"route":{"source":"websocket","group":"resource",'
    b'"operation":"keepalive","resource":"node"},"content":"ping"}'
)
_ID_MARK: Final = b'"msg_id":"'
_RESOURCE_MARK: Final = b'"resource":"'
_HEAD_BYTES: Final = 512  # header and route stand within these


def _after(head: bytes, mark: bytes) -> bytes:
    start = head.index(mark) + len(mark)
    return head[start : head.index(b'"', start)]


class Peer(picows.WSListener):
    """One edge."""

    def __init__(self, node: NodeID, arrived: Callable[[NodeID, str], None]) -> None:
        """``arrived`` is called with node and resource of each message, before its ack."""
        self._node, self._arrived = node, arrived

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Say that we are alive, as an edge does first."""
        transport.send(picows.WSMsgType.TEXT, _KEEPALIVE)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Note and acknowledge a message."""
        if frame.msg_type is not picows.WSMsgType.TEXT:
            return
        head = bytes(frame.get_payload_as_memoryview()[:_HEAD_BYTES])
        resource = _after(head, _RESOURCE_MARK)
        self._arrived(self._node, resource.decode())
        msg_id = _after(head, _ID_MARK)
        transport.send(
            picows.WSMsgType.TEXT,
            b'{"header":{"msg_id":"a","parent_msg_id":"%b","timestamp":1},"route":{"source":'
            b'"edgecontroller","group":"resource","operation":"response","resource":"%b"},'
            b'"content":"OK"}' % (msg_id, resource),
        )


class Fleet:
    """``count`` peers with Nodes and certificates of their own. An async context manager."""

    def __init__(self, api: Api, cloud: CloudCore, count: int) -> None:
        """Prepare the fleet; nothing is connected yet."""
        self._api, self._cloud = api, cloud
        self.nodes = [NodeID(f"bench-{number}") for number in range(count)]
        self._transports: list[picows.WSTransport] = []
        self._stack = AsyncExitStack()
        self._expected: set[tuple[NodeID, str]] = set()
        self._all_arrived = asyncio.Event()
        self.last_arrival_s = 0.0

    async def __aenter__(self) -> Self:
        """Register the Nodes and connect all peers."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cloudedge-bench-"))
        secret = await self._api.get("/api/v1/namespaces/kubeedge/secrets/casecret")
        assert secret is not None
        authority = pki.load_authority(
            *(base64.b64decode(secret["data"][key]) for key in ("cadata", "cakeydata"))
        )
        await self._for_each(self._register)
        await self._for_each(lambda node: self._connect(node, authority, Path(folder)))
        keepers = await self._stack.enter_async_context(asyncio.TaskGroup())
        keeper = keepers.create_task(self._keep_alive(), name="keepalive")
        self._stack.callback(keeper.cancel)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect all peers and delete their Nodes."""
        await self._stack.aclose()
        for transport in self._transports:
            transport.disconnect()
        await self._for_each(lambda node: self._api.delete(f"/api/v1/nodes/{node}"))

    def expect(self, resources: dict[NodeID, list[str]]) -> None:
        """Forget what came before; ``arrive`` then waits for exactly this, by node."""
        self._expected = {(node, r) for node, listed in resources.items() for r in listed}
        self._all_arrived.clear()

    async def arrive(self, timeout_s: float) -> float:
        """Return the monotonic time at which the last expected message came."""
        async with asyncio.timeout(timeout_s):
            await self._all_arrived.wait()
        return self.last_arrival_s

    def _arrived(self, node: NodeID, resource: str) -> None:
        if (node, resource) not in self._expected:
            return
        self._expected.discard((node, resource))
        if not self._expected:
            self.last_arrival_s = time.monotonic()
            self._all_arrived.set()

    async def _for_each(self, action: Callable[[NodeID], Awaitable[None]]) -> None:
        places = asyncio.Semaphore(_CONNECTING)

        async def one(node: NodeID) -> None:
            async with places:
                await action(node)

        async with asyncio.TaskGroup() as group:
            for node in self.nodes:
                group.create_task(one(node))

    async def _register(self, node: NodeID) -> None:
        labels = {EDGE_NODE_LABEL: "", "kubernetes.io/hostname": node}
        await self._api.create("/api/v1/nodes", {"metadata": {"name": node, "labels": labels}})

    async def _connect(self, node: NodeID, authority: pki.Authority, folder: Path) -> None:
        key = pki.new_key()
        issued = pki.issue_node(authority, pki.new_csr(key, node), node, datetime.now(UTC))
        (cert_file := folder / f"{node}.crt").write_text(pki.cert_to_pem(issued.der))
        (key_file := folder / f"{node}.key").write_bytes(pki.key_to_pem(key))
        context: ssl.SSLContext = tls.client_context(authority.pem, cert_file, key_file)
        transport, _ = await picows.ws_connect(
            lambda: Peer(node, self._arrived),
            f"wss://{LOOPBACK}:{self._cloud.websocket_port}/{_PROJECT}/{node}/events",
            ssl_context=context,
            extra_headers={
                "node_id": node,
                "project_id": _PROJECT,
                "ConnectionUse": "msg",
                "Sec-WebSocket-Protocol": "cloudedge.v1",
            },
            websocket_handshake_timeout=30,
        )
        self._transports.append(transport)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(_KEEPALIVE_S)
            for transport in self._transports:
                transport.send(picows.WSMsgType.TEXT, _KEEPALIVE)
