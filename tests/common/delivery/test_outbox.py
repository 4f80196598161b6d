"""The outbox against a model, with a clock that the test moves. Pure: what is sent is a double that
has an id, a verb, a version and a size.
"""

from dataclasses import dataclass, field, replace
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common.delivery.outbox import LARGE, SLOWEST_LINK_BYTES_PER_S, Outbox
from common.delivery.pace import FIRST_BYTES
from common.names import UID, Operation

A, B, C = UID("a"), UID("b"), UID("c")
WINDOW, RESEND_S, SIZE = 2, 5.0, 100
IDS = count()


@dataclass(frozen=True, slots=True)
class Parcel:
    version: int = 0
    operation: Operation = Operation.UPDATE
    size: int = SIZE
    is_restated: bool = False
    msg_id: str = field(default_factory=lambda: str(next(IDS)))

    def restated(self) -> "Parcel":
        return replace(self, is_restated=True)


def delete() -> Parcel:
    return Parcel(operation=Operation.DELETE)


def reply(size: int = SIZE) -> Parcel:
    return Parcel(operation=Operation.RESPONSE, size=size)


class Bench:
    """An outbox, and how often it said that a state was superseded."""

    def __init__(self, window: int = WINDOW) -> None:
        self.superseded = self.resent = 0
        self.landed_after_s: list[float] = []
        self.outbox: Outbox[Parcel] = Outbox(
            window=window,
            resend_after_s=RESEND_S,
            measure=lambda parcel: parcel.size,
            superseded=self._count,
            landed=self.landed_after_s.append,
            resent=self._count_resent,
        )

    def _count_resent(self) -> None:
        self.resent += 1

    def _count(self) -> None:
        self.superseded += 1

    def offer(self, uid: UID, parcel: Parcel) -> Parcel:
        self.outbox.offer(uid, parcel)
        return parcel

    def take(self, now_s: float = 0.0, *, may_be_large: bool = True) -> Parcel | None:
        taken = self.outbox.take(now_s, may_be_large=may_be_large)
        if taken is None:
            return None
        parcel, size = taken
        assert size == parcel.size
        return parcel

    def take_all(self, now_s: float = 0.0) -> list[Parcel]:
        taken = []
        while (parcel := self.take(now_s)) is not None:
            taken.append(parcel)
        return taken


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- the newest version ---------------------------------------------------------------------------


def test_a_newer_version_takes_the_place_of_one_that_was_not_written(bench: Bench) -> None:
    bench.offer(A, Parcel(1))
    new = bench.offer(A, Parcel(2))
    assert (len(bench.outbox), bench.superseded) == (1, 1)
    assert bench.take_all() == [new]


def test_a_place_in_line_is_kept_by_newer_versions(bench: Bench) -> None:
    bench.offer(A, Parcel(1))
    other = bench.offer(B, Parcel(1))
    newest = bench.offer(A, Parcel(2))
    assert bench.take_all() == [newest, other]


def test_an_older_version_is_dropped(bench: Bench) -> None:
    newest = bench.offer(A, Parcel(2))
    bench.offer(A, Parcel(1))
    assert bench.superseded == 1
    assert bench.take_all() == [newest]


def test_an_older_version_is_dropped_also_while_the_newer_one_is_in_flight(bench: Bench) -> None:
    newest = bench.offer(A, Parcel(2))
    bench.take()
    bench.offer(A, Parcel(1))
    assert bench.superseded == 1
    assert bench.take_all(RESEND_S + 1) == [newest]


def test_what_is_restated_takes_the_place_of_a_newer_version_and_of_a_delete(bench: Bench) -> None:
    """An etcd that was restored counts anew, and has what was deleted again."""
    for before in (Parcel(9), delete()):
        restated = Parcel(3, is_restated=True)
        bench.offer(UID("a"), before)
        bench.offer(UID("a"), restated)
        assert bench.take(0.0) is restated
        bench.outbox.acknowledge(restated.msg_id, 0.0)
    in_flight, restated = delete(), Parcel(3, is_restated=True)
    bench.offer(UID("a"), in_flight)
    assert bench.take(0.0) is in_flight
    bench.offer(UID("a"), restated)
    bench.offer(UID("a"), Parcel(2))
    bench.outbox.acknowledge(in_flight.msg_id, 0.0)
    assert bench.take(0.0) is restated


def test_what_follows_on_what_was_restated_keeps_its_mark_until_that_has_arrived(
    bench: Bench,
) -> None:
    """The peer may hold version 9 of before an etcd was restored."""
    bench.offer(A, Parcel(3, is_restated=True))
    bench.offer(A, Parcel(4))
    in_flight = bench.take()
    assert in_flight is not None
    assert (in_flight.version, in_flight.is_restated) == (4, True)
    later = bench.offer(A, Parcel(5))
    lost = bench.take(RESEND_S + 1)
    assert lost == later.restated()
    bench.offer(A, Parcel(6))
    bench.outbox.acknowledge(later.msg_id, RESEND_S + 1)
    plain = bench.take(RESEND_S + 1)
    assert plain is not None
    assert (plain.version, plain.is_restated) == (6, False)


def test_a_delete_in_place_of_what_was_restated_stays_final(bench: Bench) -> None:
    bench.offer(A, Parcel(3, is_restated=True))
    gone = bench.offer(A, delete())
    assert bench.take() is gone


def test_the_same_version_may_be_told_again(bench: Bench) -> None:
    bench.offer(A, Parcel(2))
    again = bench.offer(A, Parcel(2))
    assert bench.take_all() == [again]


@pytest.mark.parametrize("is_written", [False, True])
def test_nothing_follows_a_delete(bench: Bench, *, is_written: bool) -> None:
    bench.offer(A, Parcel(1))
    gone = bench.offer(A, delete())
    taken = bench.take() if is_written else None
    bench.offer(A, Parcel(9))
    assert bench.superseded == 2
    assert (taken or bench.take()) is gone
    assert bench.outbox.acknowledge(gone.msg_id, 0)
    assert len(bench.outbox) == 0


def test_a_delete_that_is_acknowledged_is_forgotten(bench: Bench) -> None:
    gone = bench.offer(A, delete())
    bench.take()
    bench.outbox.acknowledge(gone.msg_id, 0)
    back = bench.offer(A, Parcel(1))
    assert bench.take() is back


def test_a_delete_may_be_repeated_and_is_sent_once(bench: Bench) -> None:
    gone = bench.offer(A, delete())
    bench.offer(A, delete())
    assert bench.take_all() == [gone]
    assert bench.superseded == 1


# --- in flight ------------------------------------------------------------------------------------


def test_the_window_bounds_what_is_unacknowledged(bench: Bench) -> None:
    first, second, third = (bench.offer(UID(uid), Parcel(1)) for uid in "abc")
    assert bench.take_all() == [first, second]
    assert bench.outbox.acknowledge(first.msg_id, 0)
    assert bench.take_all() == [third]


def test_one_message_of_an_object_is_in_flight_at_a_time(bench: Bench) -> None:
    first = bench.offer(A, Parcel(1))
    bench.take()
    second = bench.offer(A, Parcel(2))
    assert bench.take() is None
    bench.outbox.acknowledge(first.msg_id, 0)
    assert bench.take() is second
    assert bench.superseded == 0, "the first one was delivered"


def test_a_message_without_acknowledgement_is_sent_again(bench: Bench) -> None:
    parcel = bench.offer(A, Parcel(1))
    bench.take()
    assert bench.outbox.deadline_s() == pytest.approx(RESEND_S, abs=0.1)
    assert bench.take(RESEND_S - 1) is None
    assert bench.resent == 0
    assert bench.take(RESEND_S + 1) is parcel
    assert (bench.superseded, bench.resent) == (0, 1)


def test_each_resend_waits_longer_up_to_a_bound(bench: Bench) -> None:
    bench.offer(A, Parcel(1))
    bench.take()
    waits, now_s = [], 0.0
    for _ in range(12):
        deadline_s = bench.outbox.deadline_s()
        assert deadline_s is not None
        waits.append(deadline_s - now_s)
        now_s = deadline_s
        assert bench.take(now_s) is not None
    assert waits == sorted(waits)
    assert waits[1] == pytest.approx(2 * RESEND_S, abs=0.1)
    assert waits[-1] == waits[-2] < 600


def test_the_newest_version_is_sent_in_place_of_a_lost_one(bench: Bench) -> None:
    old = bench.offer(A, Parcel(1))
    bench.take()
    new = bench.offer(A, Parcel(2))
    assert bench.take(RESEND_S + 1) is new
    assert bench.superseded == 1
    assert not bench.outbox.acknowledge(old.msg_id, RESEND_S + 1)
    assert bench.outbox.acknowledge(new.msg_id, RESEND_S + 1)
    assert len(bench.outbox) == 0


def test_nothing_is_taken_for_lost_before_the_slowest_link_has_carried_it(bench: Bench) -> None:
    size = 1024 * 1024
    bench.offer(A, Parcel(1, size=size))
    bench.take()
    assert bench.take(size / SLOWEST_LINK_BYTES_PER_S) is None
    assert bench.take(size / SLOWEST_LINK_BYTES_PER_S + RESEND_S + 1) is not None


def test_a_part_that_has_arrived_gives_the_rest_its_time(bench: Bench) -> None:
    parcel = bench.offer(A, Parcel(1, size=LARGE))
    bench.take()
    for now_s in range(0, 100, 4):
        assert bench.take(now_s) is None
        bench.outbox.postpone(parcel.msg_id, now_s)
    bench.outbox.postpone("another", 1000)
    assert bench.take(99 + RESEND_S) is parcel


def test_an_acknowledgement_of_something_else_changes_nothing(bench: Bench) -> None:
    bench.offer(A, Parcel(1))
    assert not bench.outbox.acknowledge("another", 0)
    bench.take()
    assert not bench.outbox.acknowledge("another", 0)
    assert (len(bench.outbox), bench.outbox.objects) == (1, 1)


def test_how_long_an_acknowledgement_took_is_told(bench: Bench) -> None:
    parcel = bench.offer(A, Parcel(1))
    bench.take(1.0)
    bench.outbox.acknowledge(parcel.msg_id, 1.5)
    bench.outbox.acknowledge(parcel.msg_id, 2.5)
    assert bench.landed_after_s == [0.5]


# --- replies --------------------------------------------------------------------------------------


def test_replies_go_first_in_order_each_once_and_need_no_window(bench: Bench) -> None:
    for uid in "ab":
        bench.offer(UID(uid), Parcel(1))
        bench.take()
    replies = [reply() for _ in range(3)]
    for parcel in replies:
        bench.outbox.reply(parcel)
    assert (len(bench.outbox), bench.outbox.objects) == (5, 2)
    assert bench.take_all() == replies
    assert bench.take(RESEND_S + 1) is not None, "an object: replies are not sent again"


def test_replies_pass_whatever_is_under_way(bench: Bench) -> None:
    bench.outbox.pace.launch(10**9)
    answer = reply(10**6)
    bench.offer(A, Parcel(1))
    bench.outbox.reply(answer)
    assert bench.take_all() == [answer]


# --- what goes in parts ---------------------------------------------------------------------------


def test_what_is_large_waits_for_its_turn_and_the_rest_passes(bench: Bench) -> None:
    large = bench.offer(A, Parcel(1, size=LARGE))
    small = bench.offer(B, Parcel(1))
    large_answer, answer = reply(LARGE), reply()
    bench.outbox.reply(large_answer)
    bench.outbox.reply(answer)
    assert bench.take(may_be_large=False) is answer
    assert bench.take(may_be_large=False) is small
    assert bench.take(may_be_large=False) is None
    assert bench.take() is large_answer
    assert bench.take() is large


def test_what_is_large_and_overdue_waits_as_well(bench: Bench) -> None:
    large = bench.offer(A, Parcel(1, size=LARGE))
    small = bench.offer(B, Parcel(1))
    bench.take_all()
    assert bench.take(RESEND_S + 1, may_be_large=False) is small
    assert bench.take(RESEND_S + 1, may_be_large=False) is None
    assert bench.take(RESEND_S + 1) is large


def test_a_small_one_does_not_overtake_the_large_one_that_it_replaces(bench: Bench) -> None:
    large = bench.offer(A, Parcel(1, size=LARGE))
    assert bench.take() is large
    small = bench.offer(A, Parcel(2))
    # While parts of it are written, the older one would come last.
    assert bench.take(RESEND_S + 1, may_be_large=False) is None
    assert bench.take(RESEND_S + 1) is small


def test_a_large_one_says_nothing_about_how_long_the_way_is(bench: Bench) -> None:
    def deliver(parcel: Parcel, now_s: float, delay_s: float) -> None:
        bench.offer(A, parcel)
        assert bench.take(now_s) is parcel
        assert bench.outbox.pace.in_flight == parcel.size
        bench.outbox.acknowledge(parcel.msg_id, now_s + delay_s)

    deliver(Parcel(1, size=FIRST_BYTES), 0, 0.2)
    deliver(Parcel(2, size=LARGE), 10, 300)  # its parts have taken their time
    deliver(Parcel(3, size=2 * FIRST_BYTES), 400, 0.2)
    assert bench.outbox.pace.window == 4 * FIRST_BYTES, "it doubles, as on a link without a queue"


# --- how much is under way ------------------------------------------------------------------------


def test_no_more_is_under_way_than_the_link_carries_soon() -> None:
    bench = Bench(window=256)
    parcels = [bench.offer(UID(str(n)), Parcel(1, size=3000)) for n in range(9)]
    assert bench.take_all() == parcels[:2]
    assert bench.outbox.pace.in_flight == 6000
    bench.outbox.acknowledge(parcels[0].msg_id, 0.1)
    assert bench.take() is parcels[2]


def test_a_small_one_does_not_pass_a_larger_one_for_ever(bench: Bench) -> None:
    bench.offer(A, Parcel(1))
    bench.take()
    larger = bench.offer(B, Parcel(1, size=10**6))
    bench.offer(C, Parcel(1))
    assert bench.take() is None
    bench.outbox.acknowledge(bench.outbox._in_flight_ids[A], 0.1)
    assert bench.take() is larger


def test_what_is_never_acknowledged_leaves_the_room_to_the_rest() -> None:
    bench = Bench(window=256)
    stuck = bench.offer(A, Parcel(1, size=10**6))
    assert bench.take() is stuck
    other = bench.offer(B, Parcel(1, size=3000))
    assert bench.take() is None
    overdue_s = 10**6 / SLOWEST_LINK_BYTES_PER_S + RESEND_S + 1
    assert bench.take_all(overdue_s) == [stuck, other]
    assert bench.outbox.pace.in_flight == 3000
    bench.outbox.acknowledge(other.msg_id, overdue_s)
    assert bench.outbox.pace.in_flight == 0


def test_an_acknowledgement_after_a_resend_is_no_measure_of_the_link() -> None:
    bench = Bench(window=256)
    late = bench.offer(A, Parcel(1))
    bench.take()
    bench.take(RESEND_S + 1)
    # It is for the first one; the way would seem to take no time.
    bench.outbox.acknowledge(late.msg_id, RESEND_S + 1)
    for number in range(20):
        now_s = 10.0 * number + 10
        parcels = [bench.offer(UID(str(n)), Parcel(number + 1, size=4000)) for n in range(2)]
        assert bench.take_all(now_s)
        for parcel in parcels:
            bench.outbox.acknowledge(parcel.msg_id, now_s + 1)
    assert bench.outbox.pace.window > FIRST_BYTES


# --- against a model ------------------------------------------------------------------------------

UIDS = st.sampled_from([A, B, C, UID("d")])
SIZES = st.sampled_from([LARGE, 1, SIZE, 5000, 10**6])


class Peer:
    """What holds the objects: it takes nothing that is older than what it has."""

    def __init__(self) -> None:
        self.versions: dict[UID, int] = {}
        self.gone: set[UID] = set()

    def hear(self, uid: UID, parcel: Parcel) -> None:
        if parcel.operation is Operation.DELETE:
            self.versions.pop(uid, None)
            self.gone.add(uid)
        elif parcel.is_restated:
            self.versions[uid] = parcel.version
            self.gone.discard(uid)
        elif uid not in self.gone and parcel.version >= self.versions.get(uid, 0):
            self.versions[uid] = parcel.version


@dataclass
class Object:
    """What the model knows of an object that the outbox has not delivered yet."""

    newest: Parcel
    written: int = -1
    """The highest rank that was written: no older one may follow."""


def rank(parcel: Parcel) -> int:
    return 10**6 if parcel.operation is Operation.DELETE else parcel.version


class OutboxMachine(RuleBasedStateMachine):
    """Random offers, losses and time against what must hold for each object."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(window=3)
        self.now_s = 0.0
        self.objects: dict[UID, Object] = {}  # that are held
        self.uids: dict[str, UID] = {}
        self.in_flight: dict[UID, Parcel] = {}
        self.arrived: set[str] = set()
        self.peer, self.ideal = Peer(), Peer()
        """The latter hears of everything, at once."""
        self.acknowledged: list[str] = []
        self.replies: list[Parcel] = []
        self.offered = 0

    @rule(uid=UIDS, version=st.integers(1, 50), size=SIZES, is_restated=st.booleans())
    def offer_version(self, uid: UID, version: int, size: int, *, is_restated: bool) -> None:
        self.offer(uid, Parcel(version, size=size, is_restated=is_restated))

    @rule(uid=UIDS, version=st.integers(1, 5))
    def an_etcd_is_restored(self, uid: UID, version: int) -> None:
        """What is told of the object then is changed soon after."""
        self.offer(uid, Parcel(version, is_restated=True))
        self.offer(uid, Parcel(version + 1))

    @rule(uid=UIDS)
    def a_peer_holds_more(self, uid: UID) -> None:
        """The newest is delivered."""
        self.offer(uid, Parcel(50))
        for _ in range(20):
            self.take(may_be_large=True, is_lost=False)
            self.acknowledge(0)

    @rule(uid=UIDS)
    def offer_delete(self, uid: UID) -> None:
        self.offer(uid, delete())

    def offer(self, uid: UID, parcel: Parcel) -> None:
        self.bench.offer(uid, parcel)
        self.offered += 1
        self.uids[parcel.msg_id] = uid
        self.ideal.hear(uid, parcel)
        held = self.objects.get(uid)
        if held is None:
            self.objects[uid] = Object(parcel)
        elif parcel.is_restated or (
            held.newest.operation is not Operation.DELETE and rank(parcel) >= rank(held.newest)
        ):
            held.newest = parcel

    @rule(size=SIZES)
    def reply(self, size: int) -> None:
        answer = reply(size)
        self.bench.outbox.reply(answer)
        self.replies.append(answer)

    @rule(may_be_large=st.booleans(), is_lost=st.booleans())
    def take(self, *, may_be_large: bool, is_lost: bool) -> None:
        parcel = self.bench.take(self.now_s, may_be_large=may_be_large)

        def is_allowed(one: Parcel) -> bool:
            return may_be_large or one.size != LARGE

        next_reply = next((one for one in self.replies if is_allowed(one)), None)
        if next_reply is not None:
            assert parcel is next_reply, "answers first, in order"
            self.replies.remove(next_reply)
        elif parcel is not None:
            assert is_allowed(parcel)
            self.note_written(parcel)
            if not is_lost:
                self.note_arrived(parcel)

    def note_written(self, parcel: Parcel) -> None:
        uid = self.uids[parcel.msg_id]
        held = self.objects[uid]
        before = self.in_flight.get(uid)
        assert parcel.msg_id == held.newest.msg_id, "the newest, also in place of a lost one"
        assert parcel.is_restated or rank(parcel) >= held.written, "an older one behind a newer one"
        held.written = rank(parcel)
        if before is None:
            assert len(self.in_flight) < 3, "the window"
        self.in_flight[uid] = parcel

    def note_arrived(self, parcel: Parcel) -> None:
        self.arrived.add(parcel.msg_id)
        self.peer.hear(self.uids[parcel.msg_id], parcel)

    @rule(place=st.integers(0, 10))
    def acknowledge(self, place: int) -> None:
        """One that is in flight and has arrived."""
        arrived = [one for one in self.in_flight.items() if one[1].msg_id in self.arrived]
        if not arrived:
            return
        uid, parcel = arrived[place % len(arrived)]
        assert self.bench.outbox.acknowledge(parcel.msg_id, self.now_s)
        del self.in_flight[uid]
        self.acknowledged.append(parcel.msg_id)
        if self.objects[uid].newest.msg_id == parcel.msg_id:
            del self.objects[uid]

    @rule(place=st.integers(0, 1000))
    def acknowledge_what_is_not_awaited(self, place: int) -> None:
        ids = [*self.uids, "another"]
        msg_id = ids[place % len(ids)]
        if msg_id not in {parcel.msg_id for parcel in self.in_flight.values()}:
            assert not self.bench.outbox.acknowledge(msg_id, self.now_s)

    @rule(place=st.integers(0, 10))
    def a_part_arrives(self, place: int) -> None:
        in_flight = list(self.in_flight.values())
        if in_flight:
            self.bench.outbox.postpone(in_flight[place % len(in_flight)].msg_id, self.now_s)

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def what_was_offered_is_acknowledged_superseded_or_held(self) -> None:
        outbox = self.bench.outbox
        assert self.offered == len(self.acknowledged) + self.bench.superseded + outbox.objects

    @invariant()
    def memory_is_bounded_by_objects(self) -> None:
        outbox = self.bench.outbox
        assert len(self.objects) <= outbox.objects <= 2 * len(self.objects)
        assert len(outbox) == outbox.objects + len(self.replies)
        assert set(outbox._in_flight_ids) == set(self.in_flight)

    @invariant()
    def the_books_of_what_is_under_way_are_right(self) -> None:
        pace = self.bench.outbox.pace
        assert 0 <= pace.in_flight <= sum(parcel.size for parcel in self.in_flight.values())
        if not self.in_flight:
            assert pace.in_flight == 0
            assert self.bench.outbox.deadline_s() is None

    def teardown(self) -> None:
        """However many were lost: over a link that works the newest of each is delivered."""
        wanted = {uid: held.newest for uid, held in self.objects.items()}
        for _ in range(200):
            self.now_s += 10_000
            parcel = self.bench.take(self.now_s)
            if parcel is None:
                break
            uid = self.uids.get(parcel.msg_id)
            if uid is not None:
                self.note_arrived(parcel)
                assert self.bench.outbox.acknowledge(parcel.msg_id, self.now_s)
                if uid in wanted and wanted[uid].msg_id == parcel.msg_id:
                    del wanted[uid]
        assert self.peer.versions == self.ideal.versions, "nothing was taken for old"
        assert (len(self.bench.outbox), wanted) == (0, {})
        assert self.bench.outbox.pace.in_flight == 0


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
