"""What a handler is given: whatever a node sends is checked before it is used. Pure."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.edgecontroller.handlers.call import MAX_CONTENT_BYTES, Answer, Call
from cloudcore.kube.views import ObjectKey
from common.beehive.message import OK, new, raw
from common.errors import RemoteError
from common.names import NodeID, Operation
from common.resource import parse_resource


def call(content: msgspec.Raw, resource: str = "node/n1/default/pod/web") -> Call:
    message = new("edged", "meta", Operation.UPDATE, resource, content)
    return Call(NodeID("n1"), parse_resource(resource), message)


def refused(content: object) -> int:
    with pytest.raises(RemoteError) as error:
        call(raw(content)).object()
    return error.value.status.code


def test_the_literal_null_is_no_namespace() -> None:
    assert call(raw({}), "node/n1/null/node/n1").key == ObjectKey("", "n1")
    assert call(raw({})).key == ObjectKey("default", "web")


def test_an_object_may_come_as_a_string_of_json() -> None:
    pod = {"metadata": {"name": "web", "namespace": "default"}}
    text = msgspec.json.encode(pod).decode()
    assert call(raw(pod)).object() == call(raw(text)).object() == pod
    assert call(raw({"metadata": {"name": "web"}})).object()


def test_what_is_longer_than_any_object_is_not_looked_at() -> None:
    filler = "x" * (MAX_CONTENT_BYTES - len('{"a":""}'))
    assert call(raw({"a": filler})).mapping() == {"a": filler}
    with pytest.raises(RemoteError) as error:
        call(raw({"a": filler + "x"})).data()
    assert error.value.status.code == 413


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, 400),
        (7, 400),
        ([], 400),
        ("{", 400),
        ("[" * 10_000 + "]" * 10_000, 400),
        ({}, 422),
        ({"metadata": []}, 422),
        ({"metadata": {}}, 422),
        ({"metadata": {"name": "other"}}, 422),
        ({"metadata": {"name": "web", "namespace": "other"}}, 422),
        ({"metadata": {"name": ["web"]}}, 422),
    ],
)
def test_what_is_not_the_object_is_refused(content: object, code: int) -> None:
    assert refused(content) == code


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_any_content_is_an_object_or_a_refusal(content: Any) -> None:
    with suppress(RemoteError):
        call(raw(content)).object()


def test_an_answer_is_ok_unless_it_says_more() -> None:
    answer = Answer()
    assert answer.content is OK
    assert (answer.resource_version, answer.source, answer.withdrawals) == ("", "", ())
