"""Any bytes are a message or a ``WireError``; messages survive the wire. Nothing is faked."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import wire
from common.beehive.message import Header, Message, Route, raw
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.names import Operation
from common.status import StatusError, not_found

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
messages = st.builds(
    Message,
    header=st.builds(
        Header,
        msg_id=st.text(),
        parent_msg_id=st.text(),
        timestamp=st.integers(0, 2**53),
        resourceversion=st.text(),
        sync=st.booleans(),
    ),
    route=st.builds(
        Route,
        operation=st.sampled_from(Operation),
        source=st.text(),
        group=st.text(),
        resource=st.text(),
    ),
    content=json_values.map(raw),
)


def envelope(operation: str = "query", content: str = "null") -> str:
    return (
        f'{{"header":{{"msg_id":"m1","timestamp":1}},"route":{{"source":"edged","group":"meta",'
        f'"operation":"{operation}","resource":"default/configmap/web"}},"content":{content}}}'
    )


def same(one: Message, other: Message) -> bool:
    return (one.header, one.route, bytes(one.content)) == (
        other.header,
        other.route,
        bytes(other.content),
    )


@given(messages)
def test_a_message_survives_the_wire(message: Message) -> None:
    encoded = wire.encode(message)
    assert same(wire.decode(encoded), message)
    assert same(wire.decode(encoded.decode()), message)


@given(st.binary())
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    try:
        wire.decode(data)
    except WireError:
        return


@given(json_values)
def test_any_json_is_a_message_or_a_wire_error(value: object) -> None:
    try:
        wire.decode(json.dumps(value))
    except WireError:
        return


def test_content_stays_the_bytes_that_came() -> None:
    content = '{"b": 1,   "a":\t[1.50, "\\u00e9"]}'
    assert bytes(wire.decode(envelope(content=content)).content) == content.encode()


def test_a_kubeedge_peer_sees_no_empty_fields_and_always_content() -> None:
    message = wire.decode(envelope())
    assert json.loads(wire.encode(message)) == {
        "header": {"msg_id": "m1", "timestamp": 1},
        "route": {
            "source": "edged",
            "group": "meta",
            "operation": "query",
            "resource": "default/configmap/web",
        },
        "content": None,
    }


def test_fields_that_are_not_known_are_passed_over() -> None:
    text = envelope().replace('"msg_id"', '"later":{"x":1},"msg_id"')
    assert wire.decode(text).msg_id == "m1"


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("{", "not JSON"),
        ("[]", "not a message"),
        ('{"header":{},"route":{"operation":"query"}}', "msg_id"),
        (envelope().replace('"timestamp":1', '"timestamp":"x"'), "timestamp"),
        (envelope().replace('"m1"', "7"), "msg_id"),
    ],
)
def test_what_is_wrong_with_a_message_is_told(text: str, tells: str) -> None:
    with pytest.raises(WireError, match=tells):
        wire.decode(text)


def test_an_unknown_operation_tells_whom_to_answer() -> None:
    with pytest.raises(UnknownOperationError) as caught:
        wire.decode(envelope("explode"))
    assert (caught.value.operation, caught.value.msg_id, caught.value.resource) == (
        "explode",
        "m1",
        "default/configmap/web",
    )


def test_what_is_no_json_behind_an_unknown_operation_is_no_message() -> None:
    text = b'{"header":{"msg_id":"1"},"route":{"operation":"explode",resource":"x"}}'
    with pytest.raises(WireError, match="not a message"):
        wire.decode(text)


def test_the_size_limit_is_exact() -> None:
    text = envelope()
    assert wire.decode(text, max_bytes=len(text)).msg_id == "m1"
    with pytest.raises(MessageTooLargeError):
        wire.decode(text, max_bytes=len(text) - 1)


@pytest.mark.parametrize("kinds", ["[]", "{}"])
def test_the_depth_limit_is_exact(kinds: str) -> None:
    opening, closing = ("[", "]") if kinds == "[]" else ('{"a":', "}")
    allowed = wire.MAX_DEPTH - 1  # the envelope is one level itself

    def nested(depth: int) -> str:
        return envelope(content=f"{opening * depth}1{closing * depth}")

    assert wire.decode(nested(allowed)).msg_id == "m1"
    with pytest.raises(WireError, match="nested"):
        wire.decode(nested(allowed + 1))
    with pytest.raises(WireError, match="nested"):
        wire.decode(nested(10_000))


def test_brackets_inside_strings_are_no_depth() -> None:
    text = json.dumps('[{"' * 500)
    assert wire.decode(envelope(content=text)).msg_id == "m1"


def test_many_brackets_side_by_side_are_no_depth() -> None:
    text = json.dumps([[], {}] * 500)
    assert wire.decode(envelope(content=text)).msg_id == "m1"


def test_an_error_is_told_from_a_value() -> None:
    status = not_found("configmap", "web")
    error = raw(StatusError(status))
    assert wire.status_of(error) == status
    assert wire.status_of(raw({"kind": "ConfigMap"})) is None
    assert wire.status_of(raw("ErrStatus")) is None


def test_content_that_is_no_json_is_a_wire_error() -> None:
    with pytest.raises(WireError):
        wire.loads(b"{")
    with pytest.raises(WireError):
        wire.loads_as(b'{"header":1}', Message)


def test_an_object_response_always_has_both_fields() -> None:
    response = wire.ObjectResponse(msgspec.Raw(b'{"kind":"Node"}'))
    assert bytes(raw(response)) == b'{"Object":{"kind":"Node"},"Err":null}'
