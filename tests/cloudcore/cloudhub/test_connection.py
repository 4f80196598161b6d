"""What a connection remembers. Real TLS and WebSockets; edge and controller are doubles."""

import asyncio

import pytest
from websockets.typing import Subprotocol

from common.names import PeerProtocol
from tests.cloudcore.cloudhub.stage import Stage, until

pytestmark = pytest.mark.both_loops


async def test_whatever_comes_counts_as_life(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._connection
        connection.last_received_s = float("-inf")
        assert await edge.is_served()
        assert connection.last_received_s > float("-inf")


@pytest.mark.parametrize("own", [True, False])
async def test_it_knows_what_was_agreed_on(stage: Stage, *, own: bool) -> None:
    offered = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)] if own else None
    async with stage.edge("n1", offered):
        protocol = stage.session("n1")._connection.peer_protocol
        assert protocol is (PeerProtocol.CLOUDEDGE_V1 if own else PeerProtocol.KUBEEDGE)


async def test_it_serves_on_without_what_only_the_handshake_needed(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._connection
        assert connection.node == "n1"
        assert connection.request is not None
        assert not connection.request.headers
        assert connection.response is None
        assert not connection.transport.get_extra_info("peercert")
        assert await edge.is_served()


async def test_its_loss_is_told_to_whoever_waits_for_something_else(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection, told = stage.session("n1")._connection, asyncio.Event()
        before = connection.on_lost
        assert before is not None

        def on_lost() -> None:
            before()
            told.set()

        connection.on_lost = on_lost
        edge.socket.transport.abort()
        await told.wait()
        assert connection.is_lost
        await until(lambda: len(stage.registry) == 0)
