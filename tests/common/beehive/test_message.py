"""Messages are built so that a reply always matches its request. Pure: nothing is faked."""

import uuid

import msgspec
import pytest

from common import wire
from common.beehive.message import NULL, OK, Message, new, raw, refusal, reply
from common.errors import WireError
from common.names import Operation
from common.status import not_found


def request() -> Message:
    return new("edged", "meta", Operation.QUERY, "default/configmap/web", resource_version="7")


def test_every_message_has_an_id_of_its_own() -> None:
    first, second = request(), request()
    assert uuid.UUID(first.msg_id) != uuid.UUID(second.msg_id)
    assert first.header.timestamp > 0


def test_a_reply_answers_its_request_and_nothing_else() -> None:
    asked = request()
    answer = reply(asked)
    assert answer.parent_id == asked.msg_id
    assert answer.msg_id != asked.msg_id
    assert answer.operation is Operation.RESPONSE
    assert answer.resource == asked.resource
    assert (answer.route.source, answer.route.group) == ("edged", "meta")
    assert answer.content == OK


def test_a_controller_replies_in_its_own_name() -> None:
    answer = reply(
        request(), raw({}), source="edgecontroller", group="resource", resource_version="9"
    )
    assert (answer.route.source, answer.route.group) == ("edgecontroller", "resource")
    assert answer.header.resourceversion == "9"


def test_a_refusal_says_why() -> None:
    status = not_found("configmap", "web")
    assert wire.status_of(refusal(request(), status).content) == status


def test_only_the_resource_differs_after_about() -> None:
    message = request()
    other = message.about("node/n1/default/configmap/web")
    assert other.resource == "node/n1/default/configmap/web"
    assert (other.header, other.content) == (message.header, message.content)


def test_json_text_in_a_string_counts_as_json() -> None:
    patch = new("edged", "meta", Operation.PATCH, "default/podpatch/web", raw('{"status":{}}'))
    assert patch.data() == b'{"status":{}}'
    assert new("edged", "meta", Operation.PATCH, "x", raw({"a": 1})).data() == b'{"a":1}'
    assert request().data() == bytes(NULL)


def test_a_string_that_is_broken_is_a_wire_error() -> None:
    message = new("edged", "meta", Operation.PATCH, "x", msgspec.Raw(b'"\\ud800"'))
    with pytest.raises(WireError):
        message.data()
