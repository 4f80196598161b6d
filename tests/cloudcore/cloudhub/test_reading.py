"""When the socket of a node is read. The connection is a double; nothing else is.

Of sessions, the ``bare`` ones have a double for the clock too, the others TLS and sockets.
"""

import pytest
from websockets.frames import Frame, Opcode

from cloudcore.cloudhub import closing
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, Outstanding
from cloudcore.cloudhub.reading import BYTES_AS_A_MESSAGE, MAX_MESSAGES_PER_S, Reading
from common import frames, wire
from common.beehive.message import new, raw
from common.capabilities import ALL
from common.names import Operation
from tests.cloudcore.cloudhub.bare import OWN, Bare
from tests.cloudcore.cloudhub.stage import Stage, until


class Link:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


def test_a_node_is_told_to_wait_once_and_to_go_on_once() -> None:
    link, outstanding = Link(), Outstanding()
    reading = Reading(link, outstanding)
    for number in range(MAX_OUTSTANDING):
        reading.adjust()
        outstanding.take(str(number), 1, is_answered=True)
    assert link.told == []
    reading.adjust()
    reading.adjust()
    assert (link.told, reading.is_on) == (["pause"], False)
    reading.begin_second()
    assert not reading.is_on, "time makes no room"
    outstanding.settle("0")
    reading.adjust()
    reading.adjust()
    assert (link.told, reading.is_on) == (["pause", "resume"], True)


def test_a_second_has_so_many_messages_and_large_answers_count_as_several() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.taken_in = MAX_MESSAGES_PER_S - 1
    reading.add_answer(BYTES_AS_A_MESSAGE - 1)
    reading.adjust()
    assert reading.is_on
    reading.add_answer(BYTES_AS_A_MESSAGE)
    reading.adjust()
    assert not reading.is_on
    reading.begin_second()
    assert (link.told, reading.taken_in) == (["pause", "resume"], 0)


def test_a_connection_that_closes_is_read_whatever_comes() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    reading.close()
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    assert link.told == ["pause", "resume"]


def test_a_connection_that_is_gone_is_left_alone() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.lost()
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    reading.begin_second()
    assert link.told == []


# --- in a session --------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_an_edge_that_floods_is_paused_and_its_neighbour_is_served(stage: Stage) -> None:
    async with stage.edge("n2", able=ALL) as other, stage.edge("n1", able=ALL) as edge:
        session = stage.session("n1")
        beat = frames.encode(frames.Beat(1, progresses=True))
        flood = (Frame(Opcode.BINARY, beat).serialize(mask=True) for _ in range(2500))
        edge.socket.transport.write(b"".join(flood))  # more than a second's share, at once
        await until(lambda: not session._reading.is_on)
        for number in range(20):
            await other.say(frames.Beat(number, progresses=True))
            assert isinstance(await other.hear(), frames.BeatAnswer)
        await until(lambda: session._reading.is_on)


def test_a_node_that_floods_is_read_again_in_the_next_second(bare: Bare) -> None:
    ping = new("websocket", "resource", Operation.KEEPALIVE, "node", raw("ping"))
    for _ in range(MAX_MESSAGES_PER_S):
        assert not bare.wire.is_paused
        bare.say(ping)
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert not bare.wire.is_paused
    bare.say(ping)
    assert not bare.wire.is_paused


def test_a_node_that_pings_all_the_time_floods_as_well(bare: Bare) -> None:
    for _ in range(MAX_MESSAGES_PER_S):
        assert not bare.wire.is_paused
        bare.session.disturbed()
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert not bare.wire.is_paused


def test_a_node_that_asks_for_large_objects_floods_sooner(bare: Bare) -> None:
    content = "x" * 64 * BYTES_AS_A_MESSAGE
    answers = 0
    while not bare.wire.is_paused:
        bare.answer(bare.ask(), content)
        bare.hear()
        answers += 1
    assert answers == MAX_MESSAGES_PER_S // 65 + 1
    bare.wait(1.0)
    assert not bare.wire.is_paused


def test_whatever_has_come_already_is_taken_in_as_room_is_made_in_order_and_not_beyond(
    bare: Bare,
) -> None:
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    assert bare.wire.is_paused
    more = [new("edged", "meta", Operation.QUERY, OWN) for _ in range(100)]
    bare.wire.backlog = [wire.encode(message) for message in more]
    for request in requests:
        bare.told()
        assert bare.answer(request)
        bare.hear()  # resumes, takes in, pauses: all as the answer is written
        assert len(bare.session._outstanding._requests) <= MAX_OUTSTANDING
    assert [wire.decode(text).msg_id for text in bare.wire.backlog] == [
        message.msg_id for message in more[MAX_OUTSTANDING:]
    ]
    assert bare.wire.is_paused
    bare.wait(1.0)
    assert bare.wire.is_paused, "time makes no room"


def test_an_edge_that_was_not_read_is_read_when_it_is_closed(bare: Bare) -> None:
    for _ in range(MAX_OUTSTANDING):
        bare.ask()
    bare.wire.backlog = [b"what was under way"]
    bare.told()
    assert bare.wire.is_paused
    bare.session.end(closing.NODE_DELETED)
    assert not bare.wire.is_paused, "its answer to the close frame has to be seen"
    assert (bare.wire.backlog, bare.told()) == ([], [])
