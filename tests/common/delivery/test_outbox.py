"""The outbox against a model, with a clock that the test moves. Pure: nothing is faked."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from common.beehive import message as messages
from common.beehive.message import Message
from common.delivery.outbox import SLOWEST_LINK_BYTES_PER_S, Outbox, version_of
from common.names import UID, Operation

A, B = UID("a"), UID("b")
WINDOW, RESEND_S = 2, 5.0


def update(version: int, operation: Operation = Operation.UPDATE, size: int = 0) -> Message:
    content = messages.raw("x" * size)
    return messages.new(
        "edgecontroller", "resource", operation, "default/x/y", content,
        resource_version=str(version),
    )  # fmt: skip


def delete() -> Message:
    return update(0, Operation.DELETE)


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(window=WINDOW, resend_after_s=RESEND_S)


def test_a_newer_version_takes_the_place_of_one_that_was_not_written(outbox: Outbox) -> None:
    old, new = update(1), update(2)
    outbox.offer(A, old)
    assert outbox.offer(A, new)
    assert len(outbox) == 1
    assert outbox.take(0) is new
    assert outbox.take(0) is None


def test_an_older_version_is_dropped(outbox: Outbox) -> None:
    outbox.offer(A, update(2))
    assert not outbox.offer(A, update(1))


def test_an_older_version_is_dropped_also_while_the_newer_one_is_in_flight(outbox: Outbox) -> None:
    outbox.offer(A, update(2))
    outbox.take(0)
    assert not outbox.offer(A, update(1))


def test_nothing_follows_a_delete(outbox: Outbox) -> None:
    outbox.offer(A, update(1))
    assert outbox.offer(A, delete())
    assert not outbox.offer(A, update(9))
    taken = outbox.take(0)
    assert taken is not None
    assert taken.operation is Operation.DELETE


def test_the_window_bounds_what_is_unacknowledged(outbox: Outbox) -> None:
    for uid in "abc":
        outbox.offer(UID(uid), update(1))
    first = outbox.take(0)
    assert first is not None
    assert outbox.take(0) is not None
    assert outbox.take(0) is None
    assert outbox.acknowledge(first.msg_id)
    assert outbox.take(0) is not None


def test_one_message_of_an_object_is_in_flight_at_a_time(outbox: Outbox) -> None:
    outbox.offer(A, update(1))
    first = outbox.take(0)
    assert first is not None
    outbox.offer(A, update(2))
    assert outbox.take(0) is None
    outbox.acknowledge(first.msg_id)
    second = outbox.take(0)
    assert second is not None
    assert version_of(second) == 2


def test_a_message_without_acknowledgement_is_sent_again(outbox: Outbox) -> None:
    message = update(1)
    outbox.offer(A, message)
    outbox.take(0)
    assert outbox.deadline_s() == pytest.approx(RESEND_S, abs=0.01)
    assert outbox.take(RESEND_S - 1) is None
    assert outbox.take(RESEND_S + 1) is message


def test_each_resend_waits_longer(outbox: Outbox) -> None:
    outbox.offer(A, update(1))
    outbox.take(0)
    outbox.take(RESEND_S + 1)
    deadline = outbox.deadline_s()
    assert deadline is not None
    assert deadline > RESEND_S + 1 + 2 * RESEND_S - 0.01


def test_the_newest_version_is_sent_in_place_of_a_lost_one(outbox: Outbox) -> None:
    old, new = update(1), update(2)
    outbox.offer(A, old)
    outbox.take(0)
    outbox.offer(A, new)
    assert outbox.take(RESEND_S + 1) is new
    assert not outbox.acknowledge(old.msg_id)
    assert outbox.acknowledge(new.msg_id)
    assert len(outbox) == 0


def test_a_large_message_on_a_slow_link_is_not_taken_for_lost(outbox: Outbox) -> None:
    size = 1024 * 1024
    outbox.offer(A, update(1, size=size))
    outbox.take(0)
    assert outbox.take(size / SLOWEST_LINK_BYTES_PER_S) is None


def test_replies_go_first_in_order_each_once_and_need_no_window(outbox: Outbox) -> None:
    for uid in "ab":
        outbox.offer(UID(uid), update(1))
        outbox.take(0)
    replies = [update(n, Operation.RESPONSE) for n in range(3)]
    for reply in replies:
        outbox.reply(reply)
    assert [outbox.take(0) for _ in replies] == replies
    assert outbox.take(0) is None


def test_an_acknowledgement_of_something_else_changes_nothing(outbox: Outbox) -> None:
    outbox.offer(A, update(1))
    outbox.take(0)
    assert not outbox.acknowledge("another")
    assert len(outbox) == 1


class OutboxMachine(RuleBasedStateMachine):
    """Random offers, losses and time against what must hold for each object."""

    written = Bundle("written")

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(window=WINDOW, resend_after_s=RESEND_S)
        self.now_s = 0.0
        self.newest: dict[UID, Message] = {}
        self.delivered: dict[UID, Message] = {}
        self.by_id: dict[str, tuple[UID, Message]] = {}
        self.last_written: dict[UID, int] = {}
        self.unacked: set[str] = set()
        self.replies: list[Message] = []

    @rule(uid=st.sampled_from([A, B, UID("c"), UID("d")]), version=st.integers(1, 50))
    def offer(self, uid: UID, version: int) -> None:
        message = update(version)
        before = self.newest.get(uid)
        accepted = self.outbox.offer(uid, message)
        held = before is not None and uid not in self.delivered
        if held and before is not None:
            assert accepted == (
                before.operation is not Operation.DELETE and version >= version_of(before)
            )
        if accepted:
            self.note(uid, message)

    @rule(uid=st.sampled_from([A, B, UID("c"), UID("d")]))
    def offer_delete(self, uid: UID) -> None:
        message = delete()
        if self.outbox.offer(uid, message):
            self.note(uid, message)

    def note(self, uid: UID, message: Message) -> None:
        if uid in self.delivered:
            del self.delivered[uid]
            self.last_written.pop(uid, None)
        self.newest[uid] = message
        self.by_id[message.msg_id] = (uid, message)

    @rule()
    def reply(self) -> None:
        message = update(0, Operation.RESPONSE)
        self.outbox.reply(message)
        self.replies.append(message)

    @rule(target=written)
    def take(self) -> object:
        message = self.outbox.take(self.now_s)
        if message is None:
            return multiple()
        if self.replies:
            assert message is self.replies.pop(0)
            return multiple()
        uid, _ = self.by_id[message.msg_id]
        rank = 10**6 if message.operation is Operation.DELETE else version_of(message)
        assert rank >= self.last_written.get(uid, 0), "an older version behind a newer one"
        self.last_written[uid] = rank
        self.unacked.add(message.msg_id)
        return message

    @rule(message=consumes(written))
    def acknowledge(self, message: Message) -> None:
        if self.outbox.acknowledge(message.msg_id):
            uid, _ = self.by_id[message.msg_id]
            if self.newest[uid] is message:
                self.delivered[uid] = message
        self.unacked.discard(message.msg_id)

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def memory_is_bounded_by_objects(self) -> None:
        assert len(self.outbox) <= 2 * len(self.newest) + len(self.replies)

    def teardown(self) -> None:
        """However many were lost: over a link that works the newest of each is delivered."""
        for _ in range(200):
            self.now_s += 10_000
            message = self.outbox.take(self.now_s)
            if message is None:
                break
            if message.operation is Operation.RESPONSE:
                continue
            uid, _ = self.by_id[message.msg_id]
            self.outbox.acknowledge(message.msg_id)
            self.delivered[uid] = message
        assert len(self.outbox) == 0
        for uid, message in self.newest.items():
            assert self.delivered[uid] is message


TestOutboxMachine = OutboxMachine.TestCase
TestOutboxMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
