"""When a connection counts as dead. Pure: nothing is faked.

Of sessions, the ``bare`` ones have doubles for connection and clock, the others TLS and sockets.
"""

import asyncio
import socket
from pathlib import Path

import pytest

from cloudcore.cloudhub.liveness import BEATS_SILENCE_S, STALLED_AFTER_S, Progress, silence_s
from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING
from common.beehive.message import raw
from common.capabilities import ALL, NONE
from common.frames import Beat, BeatAnswer
from common.names import Operation
from tests.cloudcore.cloudhub.bare import MIB, NOISE, OWN, Bare, kubeedge
from tests.cloudcore.cloudhub.stage import Stage, staged, until


def test_an_edge_with_beats_may_be_silent_for_less_than_two_of_them() -> None:
    assert silence_s(ALL, 30.0) == BEATS_SILENCE_S < 20.0
    assert silence_s(ALL, 5.0) == 5.0
    assert silence_s(NONE, 30.0) == 30.0


def test_a_connection_that_takes_nothing_of_what_waits_is_stalled() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(1000, 400, 10.0)
    assert not progress.is_stalled(1000, 400, 10.0 + STALLED_AFTER_S)
    assert progress.is_stalled(1000, 400, 10.5 + STALLED_AFTER_S)


def test_what_is_written_in_addition_is_no_progress() -> None:
    progress = Progress(0.0)
    assert progress.is_stalled(5000, 5000, STALLED_AFTER_S + 1)


def test_a_byte_that_is_taken_is_progress() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(5000, 4999, STALLED_AFTER_S + 1)
    assert not progress.is_stalled(6000, 5998, 2 * STALLED_AFTER_S)


def test_a_connection_for_which_nothing_waits_is_not_stalled() -> None:
    progress = Progress(0.0)
    assert not progress.is_stalled(0, 0, 10 * STALLED_AFTER_S)
    assert not progress.is_stalled(100, 100, 11 * STALLED_AFTER_S), "counted from when it was idle"


# --- in a session --------------------------------------------------------------------------------


@pytest.mark.both_loops
async def test_a_silent_node_is_given_up_and_one_that_says_anything_is_not(
    tmp_path: Path,
) -> None:
    async with (
        staged(tmp_path, keepalive_s=60.0) as stage,
        stage.edge("n1") as silent,
        stage.edge("n2") as alive,
    ):
        # As if they had been silent for so long, one of them for too long.
        stage.session("n1")._wire.last_received_s -= 61.0
        lively = stage.session("n2")._wire
        lively.last_received_s -= 10.0
        before_s = lively.last_received_s
        ping = raw("ping")
        await alive.send(Operation.KEEPALIVE, "node", ping, source="websocket", group="resource")
        assert (await silent.closed())[0] == 4408
        assert stage.refused("silent") == 1
        await until(lambda: lively.last_received_s > before_s)
        assert await alive.is_served()


@pytest.mark.both_loops
async def test_an_edge_that_takes_nothing_is_given_up(stage: Stage) -> None:
    async with stage.edge("n1") as edge:
        session = stage.session("n1")
        transport = edge.socket.transport
        transport.pause_reading()
        # The kernel would hold 32 MiB for it, where it is left to itself.
        plain: socket.socket = transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        # The transport below TLS takes one write whatever its size, and shows the next one only.
        for _ in range(2):
            await edge.send(Operation.QUERY, OWN)
        for _ in range(2):
            request = await stage.controller.next_of(Operation.QUERY)
            await stage.controller.answer(request, raw("x" * 8 * MIB))
        connection = session._wire
        await until(lambda: connection.unsent_bytes() > 0)
        now_s = asyncio.get_running_loop().time()

        def is_given_up() -> bool:
            """Look again a good while later, in which the edge has not been silent."""
            nonlocal now_s
            now_s += STALLED_AFTER_S + 1
            connection.last_received_s = now_s
            session.tend(now_s)
            return stage.refused("stalled") == 1

        await until(is_given_up)
        await stage.controller.next_of(Operation.DISCONNECTED)
        transport.resume_reading()
        assert (await edge.closed())[0] == 1006


def test_the_silence_of_an_edge_with_beats_is_seen_before_two_are_missing(bare: Bare) -> None:
    beat_s = 10.0
    bare.wire.last_received_s = 0.0
    while bare.wire.closed is None:
        bare.wait(1.0)
    assert bare.wire.closed[0] == 4408
    assert beat_s < bare.now_s < 2 * beat_s
    assert bare.refused("silent") == 1
    bare.wait(1.0)
    assert bare.wire.is_aborted, "nobody answers the close frame"


def test_a_byte_now_and_then_is_life_enough(bare: Bare) -> None:
    for _ in range(20):
        bare.wait(17.0)
        bare.wire.last_received_s = bare.now_s
    assert bare.wire.closed is None


def test_an_edge_without_beats_has_its_own_time() -> None:
    bare = kubeedge()
    bare.wait(29.0)
    assert bare.wire.closed is None
    bare.wait(2.0)
    assert bare.wire.closed is not None
    assert bare.wire.closed[0] == 4408


def test_an_edge_that_is_not_read_is_not_silent_and_hears_that_the_cloud_lives(
    bare: Bare,
) -> None:
    bare.say(Beat(3, progresses=True))
    requests = [bare.ask() for _ in range(MAX_OUTSTANDING)]
    bare.hear()
    assert bare.wire.is_paused
    for _ in range(90):
        bare.wait(1.0)
        assert [type(heard) for heard in bare.hear()] == [BeatAnswer]
    assert bare.wire.closed is None
    assert bare.answer(requests[0])
    bare.hear()
    assert not bare.wire.is_paused
    bare.wait(1.0)
    assert bare.hear() == []


def test_an_edge_without_beats_hears_no_beats() -> None:
    bare = kubeedge()
    for _ in range(MAX_OUTSTANDING):
        bare.ask()
    bare.wait(20.0)
    bare.wait(20.0)
    assert (bare.hear(), bare.wire.closed) == ([], None)


@pytest.mark.parametrize("grows", [0, 127])
def test_an_edge_that_takes_nothing_is_cut_though_what_waits_for_it_grows(
    bare: Bare, grows: int
) -> None:
    bare.offer(text="x" * 500)
    bare.hear()
    bare.wire.unsent = 50_000
    while bare.wire.closed is None:
        bare.wire.last_received_s = bare.now_s
        bare.wire.unsent += grows  # answers to its pings, say
        bare.wait(1.0)
    assert bare.wire.closed[0] == 4413
    assert bare.wire.is_aborted, "the close frame stands behind all the rest"
    assert STALLED_AFTER_S < bare.now_s < STALLED_AFTER_S + 5


def test_an_edge_that_takes_a_little_all_the_time_is_not_stuck() -> None:
    bare = kubeedge()
    bare.offer(text=NOISE)
    bare.hear()
    bare.wire.unsent = 30_000
    for number in range(300):
        bare.wire.last_received_s = bare.now_s
        if number % 2:
            bare.wire.unsent -= 64
        bare.wait(1.0)
    assert bare.wire.closed is None
