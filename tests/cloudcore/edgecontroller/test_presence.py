"""Nodes that come, live and go. What is told of it is recorded by fakes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from cloudcore.edgecontroller.presence import Presence
from cloudcore.edgecontroller.state import Peer, Peers
from common.beehive.message import Message, new, raw
from common.capabilities import Capability
from common.names import ModuleName, NodeID, Operation, PeerProtocol

NODE = NodeID("n1")


@dataclass
class Told:
    """The leases and the comparison, which only note what they are told."""

    seen: list[object] = field(default_factory=list)

    def connected(self, node: NodeID, connection: str) -> None:
        self.seen.append(("lease taken over", node, connection))

    def beat(self, node: NodeID, connection: str, *, progresses: bool, backlog: int) -> None:
        self.seen.append(("beat", node, connection, progresses, backlog))

    def disconnected(self, node: NodeID) -> None:
        self.seen.append(("lease left", node))

    async def send_everything(self, node: NodeID) -> None:
        self.seen.append(("everything", node))

    async def check(self, node: NodeID, connection: str, digest: str, *, is_quiet: bool) -> None:
        self.seen.append(("check", node, connection, digest, is_quiet))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def peers() -> Peers:
    return Peers()


@pytest.fixture
def presence(peers: Peers, told: Told) -> Presence:
    return Presence(peers, told, told)


def message(operation: Operation, content: object = None) -> Message:
    return new(ModuleName.CLOUD_HUB, "resource", operation, f"node/{NODE}", raw(content))


def gone(came: Message) -> Message:
    return message(Operation.DISCONNECTED, {"connection": came.msg_id})


def connected(protocol: PeerProtocol, capabilities: Iterable[str] = ()) -> Message:
    return message(Operation.CONNECTED, {"protocol": protocol, "capabilities": list(capabilities)})


def test_the_lease_of_a_node_with_beats_is_taken_over(
    presence: Presence, peers: Peers, told: Told
) -> None:
    came = connected(PeerProtocol.CLOUDEDGE_V1, ["beats", "digest", "of-a-later-version"])
    assert presence.note(NODE, came) is None
    can = frozenset({Capability.BEATS, Capability.DIGEST})
    since_ms = came.header.timestamp
    assert peers.get(NODE) == Peer(PeerProtocol.CLOUDEDGE_V1, came.msg_id, can, since_ms)
    assert told.seen == [("lease taken over", NODE, came.msg_id)]


def test_a_node_of_an_earlier_version_keeps_its_lease(
    presence: Presence, peers: Peers, told: Told
) -> None:
    came = message(Operation.CONNECTED, {"protocol": PeerProtocol.CLOUDEDGE_V1})
    assert presence.note(NODE, came) is None
    assert peers.is_own(NODE)
    assert told.seen == [("lease left", NODE)]


async def test_a_kubeedge_edge_is_sent_everything(presence: Presence, told: Told) -> None:
    job = presence.note(NODE, connected(PeerProtocol.KUBEEDGE))
    assert job is not None
    await job()
    assert told.seen == [("lease left", NODE), ("everything", NODE)]


async def test_what_has_to_follow_is_left_out_where_the_connection_is_gone(
    presence: Presence, told: Told
) -> None:
    came = connected(PeerProtocol.KUBEEDGE)
    sending = presence.note(NODE, came)
    beat = {"connection": came.msg_id, "progresses": True, "digest": "ab", "is_quiet": True}
    checking = presence.note(NODE, message(Operation.KEEPALIVE, beat))
    presence.note(NODE, gone(came))
    told.seen.clear()
    assert sending is not None
    assert checking is not None
    await sending()
    await checking()
    assert not told.seen


@pytest.mark.parametrize("progresses", [True, False])
async def test_a_beat_is_told_to_the_leases_and_its_digest_compared(
    presence: Presence, told: Told, *, progresses: bool
) -> None:
    came = connected(PeerProtocol.CLOUDEDGE_V1, ["beats"])
    presence.note(NODE, came)
    told.seen.clear()
    beat = {"connection": came.msg_id, "progresses": progresses, "digest": None, "is_quiet": True}
    assert presence.note(NODE, message(Operation.KEEPALIVE, beat)) is None
    later = {**beat, "digest": "00ff", "backlog": 4}
    job = presence.note(NODE, message(Operation.KEEPALIVE, later))
    assert job is not None
    await job()
    heard = ("beat", NODE, came.msg_id, progresses)
    assert told.seen == [(*heard, 0), (*heard, 4), ("check", NODE, came.msg_id, "00ff", True)]


async def test_of_digests_that_wait_the_newest_is_compared(presence: Presence, told: Told) -> None:
    came = connected(PeerProtocol.CLOUDEDGE_V1, ["beats", "digest"])
    presence.note(NODE, came)
    beat = {"connection": came.msg_id, "progresses": True, "is_quiet": False}
    jobs = [
        presence.note(NODE, message(Operation.KEEPALIVE, {**beat, "digest": digest}))
        for digest in ("01", "02", "03")
    ]
    assert [job is None for job in jobs] == [False, True, True]
    told.seen.clear()
    assert jobs[0] is not None
    await jobs[0]()
    assert told.seen == [("check", NODE, came.msg_id, "03", False)]
    assert presence.note(NODE, message(Operation.KEEPALIVE, {**beat, "digest": "04"})) is not None


def test_a_node_that_is_gone_is_forgotten(presence: Presence, peers: Peers, told: Told) -> None:
    came = connected(PeerProtocol.CLOUDEDGE_V1, ["beats"])
    presence.note(NODE, came)
    assert presence.note(NODE, gone(came)) is None
    assert peers.get(NODE) is None
    assert told.seen[-1] == ("lease left", NODE)


def test_the_end_of_a_connection_does_not_concern_the_next_one(
    presence: Presence, peers: Peers, told: Told
) -> None:
    first, second = (connected(PeerProtocol.CLOUDEDGE_V1, ["beats"]) for _ in range(2))
    presence.note(NODE, first)
    presence.note(NODE, second)
    presence.note(NODE, gone(first))
    assert peers.is_current(NODE, second.msg_id)
    assert told.seen[-1] == ("lease taken over", NODE, second.msg_id)
