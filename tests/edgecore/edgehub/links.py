"""A link without a network: what the cloud says is put in, what the edge says is taken out."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from common import capabilities, frames
from common.beehive.message import Message
from common.capabilities import Capabilities
from common.errors import StoreError
from common.frames import Frame
from common.names import PeerProtocol
from common.wire import decode, encode
from edgecore.edgehub.link import LinkLostError


class MadeUpLink:
    """An open connection to the test."""

    def __init__(
        self,
        agreed: Capabilities = capabilities.ALL,
        protocol: PeerProtocol = PeerProtocol.CLOUDEDGE_V1,
    ) -> None:
        self.protocol, self.capabilities = protocol, agreed
        self.cluster = self.authority = self.version = ""
        self.certificate = b""
        self.silent_s = 0.0
        self.closed: tuple[int, str] | None = None
        self.may_write = asyncio.Event()
        self.may_write.set()
        self._down: asyncio.Queue[str | bytes | LinkLostError] = asyncio.Queue()
        self._up: asyncio.Queue[Message | Frame] = asyncio.Queue()

    # --- for the test ---

    def says(self, item: Message | Frame | str | bytes) -> None:
        """Have the cloud say something."""
        if isinstance(item, Message):
            self._down.put_nowait(encode(item).decode())
        elif isinstance(item, str | bytes):
            self._down.put_nowait(item)
        else:
            self._down.put_nowait(frames.encode(item))

    def cut(self) -> None:
        """Lose the link."""
        self._down.put_nowait(LinkLostError("broken", "cut"))

    async def heard(self) -> Message | Frame:
        """Return what the edge says next."""
        return await self._up.get()

    def nothing_was_said(self) -> bool:
        """Whether the edge has said nothing that was not taken."""
        return self._up.empty()

    # --- for the edge ---

    def idle_s(self) -> float:
        return self.silent_s

    async def send_text(self, text: bytes) -> None:
        await self.may_write.wait()
        self._up.put_nowait(decode(text))

    async def send_binary(self, payload: bytes) -> None:
        await self.may_write.wait()
        self._up.put_nowait(frames.decode(payload))

    async def receive(self) -> str | bytes:
        item = await self._down.get()
        if isinstance(item, LinkLostError):
            raise item
        return item

    async def ping(self, patience_s: float) -> None:
        del patience_s

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class MadeUpNetwork:
    """Dials: each connection is the next of those that the test has made."""

    def __init__(self, *links: MadeUpLink) -> None:
        self.waiting = list(links)
        self.headers: list[Mapping[str, str]] = []

    @asynccontextmanager
    async def dial(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AsyncIterator[MadeUpLink]:
        del uri, tls, handshake_s
        self.headers.append(headers)
        if not self.waiting:
            raise LinkLostError("broken", "nobody there")
        yield self.waiting.pop(0)


class MadeUpCredentials:
    """A node that has no certificate and needs none."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def tls(self) -> ssl.SSLContext:
        return self.context

    async def doubt(self) -> None:
        return None

    async def keep(self) -> None:
        return None


class MadeUpMemory:
    """What outlives the process, without a disk; ``fault`` makes it fail."""

    def __init__(self, **held: str) -> None:
        self.held = dict(held)
        self.writes: list[tuple[str, str]] = []
        self.fault: StoreError | None = None

    async def state(self, key: str) -> str | None:
        if self.fault is not None:
            raise self.fault
        return self.held.get(key)

    async def set_state(self, key: str, value: str) -> None:
        self.writes.append((key, value))
        if self.fault is not None:
            raise self.fault
        self.held[key] = value
