"""What the controller is told of a connection, and in which order. Nothing is faked.

Sessions are ``bare``: their connection and their clock are doubles.
"""

import msgspec

from cloudcore.cloudhub.beats import Beats
from cloudcore.cloudhub.telling import Telling
from common.beehive.message import Message, new
from common.frames import Beat
from common.names import NodeID, Operation
from tests.cloudcore.cloudhub.bare import Bare, said

NODE = NodeID("n1")


def request() -> Message:
    return new("edged", "meta", Operation.QUERY, f"node/{NODE}/shop/pod/web")


def told(telling: Telling) -> list[Message]:
    return list(iter(telling.take_request, None))


def test_the_connection_comes_first_the_newest_beat_before_requests_and_the_end_last() -> None:
    beats = Beats()
    telling = Telling(NODE, beats, {"protocol": "cloudedge.v1"})
    asked = request()
    telling.add(asked)
    beats.heard(Beat(1, progresses=False), 0.0, backlog=0)
    beats.heard(Beat(2, progresses=True), 0.0, backlog=0)
    telling.end()
    hello, beat, third, end = told(telling)
    assert (hello.operation, hello.resource) == (Operation.CONNECTED, "node/n1")
    assert bytes(hello.content) == b'{"protocol":"cloudedge.v1"}'
    assert hello.msg_id == telling.connection_id
    assert beat.operation is Operation.KEEPALIVE
    said = msgspec.json.decode(bytes(beat.content))
    assert (said["connection"], said["progresses"]) == (telling.connection_id, True)
    assert third is asked
    assert end.operation is Operation.DISCONNECTED
    assert msgspec.json.decode(bytes(end.content)) == {"connection": telling.connection_id}


def test_requests_keep_their_order_and_nothing_is_told_twice() -> None:
    telling = Telling(NODE, Beats(), None)
    assert [message.operation for message in told(telling)] == [Operation.CONNECTED]
    asked = [request() for _ in range(3)]
    for one in asked:
        telling.add(one)
    assert told(telling) == asked
    assert told(telling) == []


def test_each_connection_has_a_name_of_its_own() -> None:
    assert Telling(NODE, Beats(), None).connection_id != Telling(NODE, Beats(), None).connection_id


# --- in a session --------------------------------------------------------------------------------


def test_the_controller_hears_of_the_connection_first_and_of_the_newest_beat_before_requests(
    bare: Bare,
) -> None:
    request = bare.ask()
    for number in range(5):
        bare.say(Beat(number, progresses=number < 4))
    told = bare.told()
    operations = [Operation.CONNECTED, Operation.KEEPALIVE, Operation.QUERY]
    assert [message.operation for message in told] == operations
    assert said(told[1])["progresses"] is False
    assert told[2].msg_id == request.msg_id


def test_the_end_names_the_connection_and_comes_after_what_was_said_before(bare: Bare) -> None:
    request = bare.ask()
    bare.say(Beat(1, progresses=True))
    bare.session.lost(None)
    hello, beat, asked, end = bare.told()
    assert (hello.operation, end.operation) == (Operation.CONNECTED, Operation.DISCONNECTED)
    assert asked.msg_id == request.msg_id
    assert said(end) == {"connection": hello.msg_id}
    assert said(beat)["connection"] == hello.msg_id == bare.session.connection_id
    assert Bare().session.connection_id != bare.session.connection_id
    assert bare.ended == 1
