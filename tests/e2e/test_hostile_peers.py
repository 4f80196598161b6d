"""What strangers and a node that means harm cost. Real: a cloudcore as a process, its sockets.

The attackers have addresses of their own on loopback. All at once they open connections and say
nothing, speak TLS and then slowly, come and go, and send what is no message; meanwhile others are
served, every refusal is counted, and the process stays as small as it was.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from common import pki, subjects, tls
from common.files import write_private
from common.names import NodeID
from deploy.devcluster.controlplane import ControlPlane
from deploy.devcluster.daemons import CloudCore
from deploy.devcluster.ports import LOOPBACK

pytestmark = pytest.mark.timeout(180)

FROM_ONE_ADDRESS = 40
MAY_GROW_BY_MIB = 64
ATTACKERS = [f"127.0.1.{number}" for number in range(1, 5)]


@dataclass(frozen=True, slots=True)
class Attacked:
    """A cloudcore, and how large it was before."""

    cloud: CloudCore
    began_mib: float

    def grown_mib(self) -> float:
        """Return by how much the process was larger at most."""
        return _mib(self.cloud, "VmHWM") - self.began_mib

    async def refused(self, reason: str) -> float:
        return await self.cloud.metric("cloudcore_refusals_total", reason=reason)

    async def exchange(self, port: int, said: bytes, address: str = LOOPBACK) -> bytes:
        """Return what comes until the other side ends it."""
        reader, writer = await self.open(port, address)
        try:
            writer.write(said)
            return await reader.read()
        except (ConnectionError, ssl.SSLError):
            return b""
        finally:
            writer.close()

    async def open(
        self, port: int, address: str, *, plain: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = None if plain else tls.unverified_context()
        return await asyncio.open_connection(LOOPBACK, port, ssl=context, local_addr=(address, 0))

    async def is_serving(self) -> bool:
        said = b"GET /ca.crt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        return (await self.exchange(self.cloud.https_port, said)).startswith(b"HTTP/1.1 200")


def _mib(cloud: CloudCore, what: str) -> float:
    status = Path(f"/proc/{cloud.pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


@pytest.fixture
async def attacked(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Attacked]:
    cloud = CloudCore(
        control_plane,
        tmp_path / "cloudcore",
        options=(f"--connections-per-address={FROM_ONE_ADDRESS}",),
    )
    await cloud.start()
    try:
        made = Attacked(cloud, 0.0)
        for _ in range(20):
            assert await made.is_serving()
        yield Attacked(cloud, _mib(cloud, "VmRSS"))
    finally:
        await cloud.stop()


async def test_strangers_who_say_nothing_keep_nobody_out_and_cost_little(
    attacked: Attacked,
) -> None:
    cloud = attacked.cloud
    async with AsyncExitStack() as opened:
        for port, limit in ((cloud.https_port, 64), (cloud.websocket_port, FROM_ONE_ADDRESS)):
            for _ in range(limit + 60):
                _, writer = await attacked.open(port, ATTACKERS[0], plain=True)
                opened.callback(writer.close)
        assert await attacked.is_serving()
        assert attacked.grown_mib() < MAY_GROW_BY_MIB
        assert await attacked.refused("https_too_many_of_address") > 0
        assert await attacked.refused("websocket_too_many_of_address") > 0


async def test_strangers_who_begin_requests_and_come_and_go_cost_little(
    attacked: Attacked,
) -> None:
    cloud = attacked.cloud
    slow = b"GET /ca.crt HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"x" * 8000 + b"\r\n"
    async with AsyncExitStack() as opened:
        for address in ATTACKERS[:3]:
            for _ in range(60):
                _, writer = await attacked.open(cloud.https_port, address)
                writer.write(slow * 20)
                opened.callback(writer.close)
        for _ in range(300):
            assert await attacked.is_serving()
        for said in (b"\xff" * 20_000, b"GET / HTTP/1.1\r\n" + b"X: x\r\n" * 500):
            for _ in range(50):
                await attacked.exchange(cloud.https_port, said, ATTACKERS[3])
        assert attacked.grown_mib() < MAY_GROW_BY_MIB
        assert await attacked.refused("https_bad_request") >= 100


async def test_a_node_that_means_harm_is_cut_off_and_costs_little(
    attacked: Attacked, tmp_path: Path
) -> None:
    cloud, node = attacked.cloud, "hostile-1"
    context = await _enrolled(attacked, node, tmp_path)
    deep = b"[" * 1_000_000
    said: list[bytes | str] = [
        '{"header":{"msg_id":"1"},"route":{"operation":"query"},"content":' + "[" * 200_000,
        (b'{"header":' + deep).decode(),
        b"\x00" * 100_000,
        "x" * 1_000_000,
        "",
    ]
    for one in said * 4:
        async with connect(
            f"wss://{LOOPBACK}:{cloud.websocket_port}/",
            ssl=context,
            additional_headers={"node_id": node, "ConnectionUse": "msg"},
            compression=None,
        ) as socket:
            with suppress(ConnectionClosed):
                await socket.send(one)
                async with asyncio.timeout(20):
                    await socket.wait_closed()
            assert socket.close_code in {1003, 1007}, socket.close_reason
    assert await attacked.is_serving()
    assert attacked.grown_mib() < MAY_GROW_BY_MIB


async def _enrolled(attacked: Attacked, node: str, folder: Path) -> ssl.SSLContext:
    cloud = attacked.cloud
    token = await cloud.token(node)
    key = pki.new_key()
    csr = subjects.new_csr(key, NodeID(node))
    head = (
        f"GET /edge.crt HTTP/1.1\r\nHost: x\r\nNodeName: {node}\r\n"
        f"Authorization: Bearer {token.partition('.')[2]}\r\nConnection: close\r\n"
        f"Content-Length: {len(csr)}\r\n\r\n"
    )
    answer = await attacked.exchange(cloud.https_port, head.encode() + csr)
    assert answer.startswith(f"HTTP/1.1 {HTTPStatus.OK:d}".encode()), answer
    files = folder / "node.crt", folder / "node.key"
    write_private(files[0], pki.cert_to_pem(answer.partition(b"\r\n\r\n")[2]).encode())
    write_private(files[1], pki.key_to_pem(key))
    context = tls.unverified_context()
    context.load_cert_chain(*files)
    return context
