"""A large content, chunk by chunk. Pure: the edge is a model of one, and the clock is moved."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudcore.cloudhub.parcel import Bulk, Parcel
from cloudcore.cloudhub.transfer import Transfer
from common import frames
from common.beehive.message import NULL, new
from common.delivery.pace import LEAST_BYTES, Pace
from common.frames import CHUNK_BYTES, Begin, Chunk, Credit, Encoding
from common.names import Operation

NUMBER = 5
SIZE = 5 * CHUNK_BYTES + 123
DATA = random.Random(7).randbytes(SIZE)


def transfer(now_s: float = 0.0) -> Transfer:
    parcel = Parcel(new("edgecontroller", "resource", Operation.UPDATE, "a/configmap/b", NULL))
    bulk = Bulk(b"{}", Encoding.DEFLATE, DATA, 10 * SIZE, frames.hash_of(DATA))
    return Transfer(NUMBER, parcel, bulk, now_s)


def narrow() -> Pace:
    """Of a slow link: one chunk at a time."""
    pace = Pace()
    pace._window = LEAST_BYTES
    return pace


def wide() -> Pace:
    pace = Pace()
    pace._window = 100 * CHUNK_BYTES
    return pace


def next_chunk(one: Transfer, pace: Pace, now_s: float = 0.0) -> Chunk | None:
    payload = one.next_chunk(pace, now_s)
    if payload is None:
        return None
    chunk = frames.decode(payload)
    assert isinstance(chunk, Chunk)
    assert chunk.transfer == NUMBER
    return chunk


def all_chunks(one: Transfer, pace: Pace) -> list[Chunk]:
    chunks = []
    while (chunk := next_chunk(one, pace)) is not None:
        chunks.append(chunk)
    return chunks


def test_it_is_announced_with_all_that_the_edge_has_to_know() -> None:
    one = transfer()
    assert frames.decode(one.begin()) == Begin(
        NUMBER, Encoding.DEFLATE, SIZE, 10 * SIZE, frames.hash_of(DATA), b"{}"
    )


def test_nothing_is_sent_before_the_edge_has_said_where_to_begin() -> None:
    one, pace = transfer(), wide()
    assert next_chunk(one, pace) is None
    assert (one.is_begun, one.is_done, pace.in_flight) == (False, False, 0)


def test_all_of_it_comes_in_order_and_it_is_done_when_the_edge_says_so() -> None:
    one, pace = transfer(), wide()
    assert one.credit(Credit(NUMBER, 0), pace, 0)
    chunks = all_chunks(one, pace)
    assert [chunk.offset for chunk in chunks] == list(range(0, SIZE, CHUNK_BYTES))
    assert b"".join(chunk.data for chunk in chunks) == DATA
    assert not one.is_done
    assert one.credit(Credit(NUMBER, SIZE), pace, 1)
    assert one.is_done
    assert pace.in_flight == 0


def test_a_slow_link_has_one_chunk_in_it() -> None:
    one, pace = transfer(), narrow()
    pace.launch(1)
    pace.land(1, 0, 0.05)  # so long is the way
    assert one.credit(Credit(NUMBER, 0), pace, 0)
    sent, now_s = 0, 0.05
    while not one.is_done:
        chunk = next_chunk(one, pace, now_s)
        assert chunk is not None
        assert next_chunk(one, pace, now_s) is None
        sent, now_s = sent + len(chunk.data), now_s + 0.55
        assert one.credit(Credit(NUMBER, sent), pace, now_s)
    assert sent == SIZE


def test_whatever_else_is_under_way_takes_room_from_it() -> None:
    one, pace = transfer(), narrow()
    one.credit(Credit(NUMBER, 0), pace, 0)
    pace.launch(LEAST_BYTES)
    assert next_chunk(one, pace) is None
    pace.forget(LEAST_BYTES)
    assert next_chunk(one, pace) is not None


@pytest.mark.parametrize("offset", [1, CHUNK_BYTES, CHUNK_BYTES + 7, SIZE - 1])
def test_it_goes_on_where_an_earlier_connection_has_stopped(offset: int) -> None:
    one, pace = transfer(), wide()
    assert one.credit(Credit(NUMBER, offset), pace, 0)
    chunks = all_chunks(one, pace)
    assert chunks[0].offset == offset
    assert b"".join(chunk.data for chunk in chunks) == DATA[offset:]


def test_what_the_edge_has_all_of_is_done_at_once() -> None:
    one, pace = transfer(), wide()
    assert one.credit(Credit(NUMBER, SIZE), pace, 0)
    assert one.is_done
    assert next_chunk(one, pace) is None


def test_an_edge_that_has_lost_what_it_had_gets_it_anew() -> None:
    one, pace = transfer(), wide()
    one.credit(Credit(NUMBER, 0), pace, 0)
    all_chunks(one, pace)
    one.credit(Credit(NUMBER, SIZE - CHUNK_BYTES), pace, 0)
    assert one.credit(Credit(NUMBER, 0), pace, 0)
    assert pace.in_flight == 0
    assert b"".join(chunk.data for chunk in all_chunks(one, pace)) == DATA
    assert one.credit(Credit(NUMBER, SIZE), pace, 0)
    assert (one.is_done, pace.in_flight) == (True, 0)


def test_what_has_arrived_is_under_way_no_more() -> None:
    one, pace = transfer(), wide()
    one.credit(Credit(NUMBER, 0), pace, 0)
    all_chunks(one, pace)
    for chunks in range(6):
        assert one.credit(Credit(NUMBER, chunks * CHUNK_BYTES + 7), pace, 0)
        assert pace.in_flight == (6 - chunks) * CHUNK_BYTES, "a part of a chunk is none"


@pytest.mark.parametrize("offset", [SIZE + 1, 2**32 - 1])
def test_a_credit_for_more_than_there_is_makes_no_sense(offset: int) -> None:
    assert not transfer().credit(Credit(NUMBER, offset), wide(), 0)


def test_a_credit_for_what_was_not_sent_makes_no_sense() -> None:
    one, pace = transfer(), narrow()
    one.credit(Credit(NUMBER, 0), pace, 0)
    all_chunks(one, pace)
    assert not one.credit(Credit(NUMBER, CHUNK_BYTES + 1), pace, 0)
    assert one.credit(Credit(NUMBER, CHUNK_BYTES), pace, 0)


def test_a_credit_for_another_transfer_changes_nothing() -> None:
    one, pace = transfer(), wide()
    assert one.credit(Credit(NUMBER - 1, SIZE + 1), pace, 9)
    assert (one.is_begun, one.moved_s) == (False, 0)


def test_it_remembers_when_it_last_got_on() -> None:
    one, pace = transfer(3), narrow()
    assert one.moved_s == 3
    one.credit(Credit(NUMBER, 0), pace, 7)
    assert one.moved_s == 7
    next_chunk(one, pace, 8)
    assert one.moved_s == 7
    one.credit(Credit(NUMBER, CHUNK_BYTES), pace, 9)
    assert one.moved_s == 9


def test_the_same_credit_again_is_no_progress() -> None:
    one, pace = transfer(), narrow()
    one.credit(Credit(NUMBER, 0), pace, 7)
    next_chunk(one, pace, 7)
    for now_s in range(8, 100):
        assert one.credit(Credit(NUMBER, 0), pace, now_s)
    assert one.moved_s == 7


def test_what_is_under_way_is_off_the_books_when_it_is_given_up() -> None:
    one, pace = transfer(), wide()
    one.credit(Credit(NUMBER, 0), pace, 0)
    all_chunks(one, pace)
    assert pace.in_flight == 6 * CHUNK_BYTES
    one.forget(pace)
    assert pace.in_flight == 0


class TransferMachine(RuleBasedStateMachine):
    """An edge that takes chunks in order, credits them late, and sometimes loses what it has."""

    def __init__(self) -> None:
        super().__init__()
        self.transfer, self.pace = transfer(), Pace()
        self.now_s = 0.0
        self.has = b""
        self.has_lost = False
        self.link: list[Chunk] = []
        self.credits: list[Credit] = []

    @precondition(lambda self: not self.transfer.is_begun and not self.credits)
    @rule(offset=st.integers(0, SIZE))
    def begin(self, offset: int) -> None:
        self.has = DATA[:offset]
        self.credits.append(Credit(NUMBER, offset))

    @rule()
    def send(self) -> None:
        self.link += all_chunks(self.transfer, self.pace)

    @precondition(lambda self: self.link)
    @rule()
    def arrive(self) -> None:
        chunk = self.link.pop(0)
        if self.has_lost and chunk.offset > len(self.has):
            return  # it was on its way when the edge lost what is before it
        assert chunk.offset == len(self.has), "nothing is left out, nothing comes twice"
        self.has_lost = False
        assert len(chunk.data) <= CHUNK_BYTES
        self.has += chunk.data
        self.credits.append(Credit(NUMBER, len(self.has)))

    @precondition(lambda self: self.credits)
    @rule()
    def get_credit(self) -> None:
        assert self.transfer.credit(self.credits.pop(0), self.pace, self.now_s)

    @precondition(lambda self: self.transfer.is_begun and not self.link and not self.credits)
    @rule(kept=st.integers(0, SIZE))
    def lose(self, kept: int) -> None:
        """The hash was wrong, or the part was thrown away."""
        if kept < len(self.has) and not self.transfer.is_done:
            self.has, self.has_lost = self.has[:kept], True
            self.credits.append(Credit(NUMBER, kept))

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def the_books_are_right(self) -> None:
        assert 0 <= self.pace.in_flight <= CHUNK_BYTES * (len(self.link) + len(self.credits))
        assert self.transfer.is_done <= (self.has == DATA)

    def teardown(self) -> None:
        """Over a link that works all of it comes."""
        if not self.transfer.is_begun and not self.credits:
            self.begin(0)
        for _ in range(3 * SIZE // CHUNK_BYTES):
            while self.credits:
                self.get_credit()
            self.send()
            while self.link:
                self.arrive()
        assert self.transfer.is_done
        assert (self.has, self.pace.in_flight) == (DATA, 0)


TestTransferMachine = TransferMachine.TestCase
TestTransferMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
