"""What waits to be written. Everything is real; there is nothing to fake."""

import msgspec

from common.beehive.message import Message, new, raw, reply
from common.frames import Beat, Credit
from common.names import Operation
from edgecore.edgehub.lanes import CAPACITY, FORGOTTEN_AFTER_S, Lanes


def asked(resource: str = "default/podpatch/web") -> Message:
    made = new("edged", "meta", Operation.PATCH, resource)
    return msgspec.structs.replace(made, header=msgspec.structs.replace(made.header, sync=True))


def ack() -> Message:
    return reply(new("edgecontroller", "resource", Operation.UPDATE, "default/pod/web"))


def test_acknowledgements_go_before_leases_and_those_before_the_rest() -> None:
    lanes = Lanes()
    first, second, lease, ok = asked(), asked(), asked("kube-node-lease/lease/n1"), ack()
    keepalive = new("websocket", "resource", Operation.KEEPALIVE, "node", raw("ping"))
    event = new("edged", "meta", Operation.INSERT, "default/event/x")
    for message in (first, event, second, lease, ok, keepalive):
        assert lanes.offer(message, 0.0)
    assert len(lanes) == 6
    taken = [lanes.take(1.0) for _ in range(7)]
    assert taken == [ok, keepalive, lease, first, event, second, None]


def test_a_beat_keeps_its_place_among_acknowledgements_and_the_newest_credit_goes_first() -> None:
    lanes = Lanes()
    before, after, beat = ack(), ack(), Beat(1, progresses=True)
    lanes.offer(before, 0.0)
    lanes.beat(beat)
    lanes.offer(after, 0.0)
    lanes.credit(Credit(1, 4096))
    lanes.credit(Credit(1, 8192))
    assert len(lanes) == 4
    assert [lanes.take(0.0) for _ in range(5)] == [Credit(1, 8192), before, beat, after, None]


def test_beats_and_credits_end_with_their_connection_and_are_no_lost_messages() -> None:
    lanes = Lanes()
    lanes.beat(Beat(1, progresses=True))
    lanes.credit(Credit(1, 4096))
    assert lanes.end() == ([], 0)
    assert len(lanes) == 0


def test_a_request_that_is_forgotten_and_was_never_written_is_a_lost_message() -> None:
    lanes = Lanes()
    lanes.offer(asked(), 0.0)
    lanes.offer(ack(), FORGOTTEN_AFTER_S)
    assert lanes.end() == ([], 2)


def test_a_request_is_awaited_until_it_is_answered_once() -> None:
    lanes = Lanes()
    request = asked()
    lanes.offer(request, 1.0)
    lanes.take(3.0)
    awaited = lanes.answered(request.msg_id)
    assert awaited is not None
    assert awaited.since_s == 3.0
    assert lanes.answered(request.msg_id) is None


def test_the_end_gives_back_what_was_asked_and_counts_what_is_lost() -> None:
    lanes = Lanes()
    written, waiting = asked(), asked()
    lanes.offer(written, 0.0)
    lanes.take(0.0)
    lanes.offer(waiting, 0.0)
    lanes.offer(ack(), 0.0)
    assert lanes.end() == ([written, waiting], 1)
    assert len(lanes) == 0
    assert lanes.end() == ([], 0)


def test_lanes_are_bounded() -> None:
    lanes = Lanes()
    assert all(lanes.offer(ack(), 0.0) for _ in range(CAPACITY))
    assert not lanes.offer(ack(), 0.0)
    assert lanes.offer(asked(), 0.0)


def test_requests_that_nobody_answers_are_bounded_and_forgotten() -> None:
    lanes = Lanes()
    for _ in range(CAPACITY):
        assert lanes.offer(asked(), 0.0)
        lanes.take(0.0)
    assert not lanes.offer(asked(), 1.0)
    assert lanes.offer(asked(), FORGOTTEN_AFTER_S)


def test_what_waits_for_the_cloud_is_what_is_written_or_answered_later() -> None:
    lanes = Lanes()
    assert lanes.waiting == 0
    request, event = asked(), new("edged", "meta", Operation.INSERT, "default/event/x")
    for message in (request, event, ack()):
        lanes.offer(message, 0.0)
    assert lanes.waiting == 2, "acknowledgements are nobody's news"
    while lanes.take(0.0) is not None:
        pass
    assert lanes.waiting == 1
    lanes.answered(request.msg_id)
    assert lanes.waiting == 0
