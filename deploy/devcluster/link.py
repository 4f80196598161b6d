"""The link between an edge and its cloud, as a TCP proxy that can be cut and mended."""

import asyncio
from types import TracebackType
from typing import Final, Self

from deploy.devcluster.ports import LOOPBACK, free_ports

_CHUNK_BYTES: Final = 64 * 1024


class Link:
    """Forwards one loopback port to another. An async context manager.

    ``cut`` ends every connection and refuses new ones, like a router that lost its uplink and says
    so; ``stall`` keeps them open and lets nothing through, like one that does not (half-open).
    ``mend`` undoes either. ``move`` leads to another target, like an address that stands for many.
    """

    def __init__(self, target: int) -> None:
        """Choose a port in front of ``target``; nothing listens yet."""
        self.port = free_ports(1)[0]
        self._target = target
        self._whole = _whole()
        self._stranded: list[asyncio.Event] = []
        self._is_cut = False
        self._connections: set[asyncio.StreamWriter] = set()
        self._tasks = asyncio.TaskGroup()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._tasks.__aenter__()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening and end every connection."""
        self._server.close()
        self.cut()
        self.mend()
        self._is_cut = True
        await self._tasks.__aexit__(None, None, None)

    def cut(self) -> None:
        """End every connection now and refuse new ones until ``mend``."""
        self._is_cut = True
        for writer in list(self._connections):
            writer.transport.abort()

    def stall(self) -> None:
        """Let nothing through until ``mend``, without telling either side."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything through again; what was held back comes first."""
        self._is_cut = False
        for whole in (self._whole, *self._stranded):
            whole.set()
        self._stranded.clear()

    def move(self, target: int) -> None:
        """Lead new connections to ``target``; those that are open let nothing through any more.

        ``mend`` has them go on, to where they led before.
        """
        self._whole.clear()
        self._stranded.append(self._whole)
        self._whole, self._target = _whole(), target

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At the end no task can begin any more; what comes at the last moment finds it cut.
        if self._is_cut:
            writer.transport.abort()
            return
        self._connections.add(writer)
        self._tasks.create_task(self._serve(reader, writer), name=f"link {self.port}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target, whole = self._target, self._whole
        ends = {writer}
        try:
            to_target = await asyncio.open_connection(LOOPBACK, target)
            ends.add(to_target[1])
            self._connections |= ends
            # A cut ends also what is not through to the target yet.
            if not writer.transport.is_closing():
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, to_target[1], whole))
                    group.create_task(self._pump(to_target[0], writer, whole))
        except* OSError:
            pass  # one side is gone, and with it the connection
        finally:
            self._connections -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, whole: asyncio.Event
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            await whole.wait()
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError  # both directions end together


def _whole() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
