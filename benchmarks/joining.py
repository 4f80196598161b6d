"""Edges that join, in a process of its own: ``python -m benchmarks.joining`` with JSON on stdin.

They enrol with a token, as edgecore does, connect, register their Nodes, and beat until stdin ends.
"""

import asyncio
import ssl
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from benchmarks.fleet import Fleet, node_object
from benchmarks.peers import Peer
from common import tls
from common.names import NodeID, Operation
from deploy.devcluster.ports import LOOPBACK
from edgecore.edgehub.enroll import enroll
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, Task

_ENROLLING: Final = 16  # at a time; each waits for cloudcore most of the time


class Joining(msgspec.Struct, frozen=True):
    """Who joins where."""

    websocket_port: int
    https_port: int
    token: str
    nodes: list[str]


async def join(joining: Joining, folder: Path) -> None:
    """Have all of ``joining`` join, and keep them until stdin ends."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_ENROLLING) as threads:

        async def admit(node: NodeID) -> ssl.SSLContext:
            config = EnrollConfig(node, LOOPBACK, joining.https_port, str(folder))
            task = Task(Job.ENROLL, config, joining.token)
            await loop.run_in_executor(threads, enroll, task)
            return tls.client_context(config.authority_file.read_text(), config.node_file)

        nodes = [NodeID(node) for node in joining.nodes]
        async with Fleet(joining.websocket_port, nodes, admit, _register):
            await loop.run_in_executor(threads, sys.stdin.buffer.read)


def _register(peer: Peer) -> None:
    peer.ask(Operation.INSERT, f"null/node/{peer.node}", node_object(peer.node))


def main() -> None:
    """Read what is to be done, and do it."""
    joining = msgspec.json.decode(sys.stdin.buffer.readline(), type=Joining)
    with (
        tempfile.TemporaryDirectory(prefix="cloudedge-bench-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        runner.run(join(joining, Path(folder)))


if __name__ == "__main__":
    main()
