"""What a connection remembers. Real TLS and WebSockets; edge and controller are doubles."""


import pytest
from websockets.typing import Subprotocol

from common.names import PeerProtocol
from tests.cloudcore.cloudhub.stage import Stage

pytestmark = pytest.mark.both_loops


async def test_whatever_comes_counts_as_life(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._wire
        connection.last_received_s = float("-inf")
        assert await edge.is_served()
        assert connection.last_received_s > float("-inf")


@pytest.mark.parametrize("own", [True, False])
async def test_it_knows_what_was_agreed_on(stage: Stage, *, own: bool) -> None:
    offered = [Subprotocol(PeerProtocol.CLOUDEDGE_V1)] if own else None
    async with stage.edge("n1", offered):
        protocol = stage.session("n1")._wire.peer_protocol
        assert protocol is (PeerProtocol.CLOUDEDGE_V1 if own else PeerProtocol.KUBEEDGE)


async def test_it_serves_on_without_what_only_the_handshake_needed(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        connection = stage.session("n1")._wire
        assert connection.node == "n1"
        assert connection.certificate == {}
        assert await edge.is_served()
