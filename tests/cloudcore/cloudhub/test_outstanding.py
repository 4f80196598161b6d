"""How much a node may have under way. Nothing is faked.

Of sessions, the ``bare`` ones have doubles for connection and clock, the others TLS and sockets.
"""

import asyncio
from pathlib import Path

import pytest

from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, MAX_OUTSTANDING_BYTES, Outstanding
from common import wire
from common.beehive.message import NULL, raw
from common.names import Operation
from tests.cloudcore.cloudhub.bare import MIB, OWN, Bare
from tests.cloudcore.cloudhub.stage import Stage, staged, until


def test_a_node_has_room_up_to_the_limit_and_not_beyond() -> None:
    outstanding = Outstanding()
    for number in range(MAX_OUTSTANDING):
        assert outstanding.has_room()
        assert outstanding.take(f"id-{number}", 10, is_answered=True)
    assert not outstanding.has_room()
    assert outstanding.settle("id-7") is True
    assert outstanding.has_room()


def test_an_answer_takes_its_place_until_it_is_written() -> None:
    outstanding = Outstanding()
    for _ in range(MAX_OUTSTANDING):
        outstanding.add_answer()
    assert not outstanding.has_room()
    outstanding.answer_written()
    assert outstanding.has_room()


def test_large_requests_take_more_room() -> None:
    outstanding = Outstanding()
    outstanding.take("large", MAX_OUTSTANDING_BYTES - 1, is_answered=True)
    assert outstanding.has_room()
    outstanding.take("small", 1, is_answered=False)
    assert not outstanding.has_room()
    assert outstanding.settle("small") is False
    assert outstanding.has_room()


def test_a_request_is_under_way_once() -> None:
    outstanding = Outstanding()
    assert outstanding.take("id", 5, is_answered=True)
    assert not outstanding.take("id", 5, is_answered=True)
    assert outstanding.settle("id") is True
    assert outstanding.settle("id") is None


# --- in a session --------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_a_node_has_so_many_requests_under_way_and_not_one_more(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        for _ in range(MAX_OUTSTANDING + 1):
            await edge.send(Operation.QUERY, OWN)
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        assert await other.is_served()
        assert len(stage.controller.requests()) == MAX_OUTSTANDING
        first = await stage.controller.next_of(Operation.QUERY)
        await stage.controller.answer(first, NULL)
        assert (await edge.receive()).parent_id == first.msg_id
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        edge.socket.transport.abort()  # it is not read: a close frame would not be answered


@pytest.mark.both_loops
async def test_whoever_takes_no_answers_gets_no_more_of_them(stage: Stage) -> None:
    async with stage.edge("n2") as other, stage.edge("n1") as edge:
        edge.socket.transport.pause_reading()
        large = raw("x" * MIB)
        asked = 0

        async def ask() -> None:
            nonlocal asked
            while True:
                await edge.send(Operation.QUERY, OWN)
                asked += 1

        async def answer() -> None:
            while True:
                request = await stage.controller.next_of(Operation.QUERY)
                await stage.controller.answer(request, large)

        session = stage.session("n1")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()), group.create_task(answer())]
            await until(lambda: not session._outstanding.has_room())
            assert len(session._outbox) <= MAX_OUTSTANDING
            assert await other.is_served()
            for task in tasks:
                task.cancel()
        edge.socket.transport.abort()  # a close frame would wait behind what it has asked


@pytest.mark.both_loops
async def test_a_request_that_is_repeated_while_under_way_is_dropped(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        message = await edge.send(Operation.QUERY, OWN)
        await edge.socket.send(wire.encode(message), text=True)
        assert await edge.is_served()
        assert stage.dropped("duplicate") == 1
        assert len(stage.controller.requests()) == 1


@pytest.mark.both_loops
async def test_a_controller_that_is_busy_is_waited_for(tmp_path: Path) -> None:
    async with staged(tmp_path, capacity=1) as stage, stage.edge("n1") as edge:
        stage.controller.is_paused = True
        for _ in range(MAX_OUTSTANDING):
            await edge.send(Operation.QUERY, OWN)
        session = stage.session("n1")
        await until(lambda: not session._reading.is_on)
        # It cannot be heard meanwhile, which is no fault of its own.
        session.tend(asyncio.get_running_loop().time() + 100)
        assert session._close is None
        stage.controller.is_paused = False
        await until(lambda: len(stage.controller.requests()) == MAX_OUTSTANDING)
        edge.socket.transport.abort()  # it is not read: a close frame would not be answered


def test_an_answer_takes_room_until_it_is_written(bare: Bare) -> None:
    bare.wire.is_writable = False
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    for request in requests:
        bare.answer(request)
    assert bare.wire.is_paused
    bare.wire.is_writable = True
    bare.session.writable()
    assert len(bare.hear()) == MAX_OUTSTANDING
    assert not bare.wire.is_paused, "at once, not in the next second"
