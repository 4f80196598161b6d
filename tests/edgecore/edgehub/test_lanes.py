"""What waits to be written. Everything is real; there is nothing to fake."""

import msgspec

from common.beehive.message import Message, new, raw, reply
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
