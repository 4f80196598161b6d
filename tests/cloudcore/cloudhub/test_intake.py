"""What a session does with a message. Pure; the LocationCache is the real one, and empty."""

import msgspec
import pytest

from cloudcore.cloudhub import intake
from cloudcore.cloudhub.intake import Intake, judge
from cloudcore.edgecontroller.location import LocationCache
from common import wire
from common.beehive.message import NULL, Message, new, raw
from common.capabilities import ALL, NONE
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.names import NodeID, Operation
from common.status import failure

NODE = NodeID("n1")
FORBIDDEN = failure(403, "no")


def message(
    operation: Operation, resource: str, *, source: str = "edged", group: str = "meta"
) -> Message:
    return new(source, group, operation, resource)


@pytest.mark.parametrize(
    ("operation", "resource", "source", "group", "expected"),
    [
        ("keepalive", "node", "websocket", "resource", Intake.KEEPALIVE),
        ("response", "shop/pod/web", "edgecontroller", "resource", Intake.ACK),
        ("error", "shop/pod/web", "edgecontroller", "resource", Intake.FAULT),
        ("get", "membership/detail", "twin", "resource", Intake.MEMBERSHIP),
        ("update", "device/shop/cam/twin/edge_updated", "twin", "resource", Intake.UNSERVED),
        ("upload", "SYS/dis/upload_records", "bus", "user", Intake.UNSERVED),
        ("upload", "", "servicebus", "user", Intake.UNSERVED),
        ("null", "null", "metaserver", "dynamiccontroller", Intake.UNSERVED),
        ("prepull", "x", "taskmanager", "hub", Intake.UNSERVED),
        ("query", "k8s/ca.crt", "metamanager", "meta", Intake.FORWARD),
        ("query", "kube-node-lease/lease/n1", "edged", "meta", Intake.FORWARD),
        ("query", "kube-node-lease/lease/n2", "edged", "meta", Intake.REFUSE),
        ("publish", "shop/pod/web", "edged", "meta", Intake.REFUSE),
    ],
)
def test_each_message_has_its_way(
    operation: str, resource: str, source: str, group: str, expected: Intake
) -> None:
    verdict = judge(
        NODE,
        message(Operation(operation), resource, source=source, group=group),
        LocationCache(),
    )
    assert verdict.intake is expected
    assert (verdict.status is not None) == (expected is Intake.REFUSE)


@pytest.mark.parametrize(
    ("msg_id", "resource", "is_sound"),
    [
        ("i" * intake.MAX_ID_CHARS, "r" * intake.MAX_RESOURCE_CHARS, True),
        ("i" * (intake.MAX_ID_CHARS + 1), "r", False),
        ("", "r", False),
        ("i", "r" * (intake.MAX_RESOURCE_CHARS + 1), False),
    ],
)
def test_an_envelope_that_cannot_be_answered_is_malformed(
    msg_id: str, resource: str, *, is_sound: bool
) -> None:
    text = raw(
        {"header": {"msg_id": msg_id}, "route": {"operation": "query", "resource": resource}}
    )
    read = wire.decode(bytes(text))
    if is_sound:
        intake.check_envelope(read)
    else:
        with pytest.raises(WireError):
            intake.check_envelope(read)


def test_a_frame_is_read_as_the_message_that_it_is() -> None:
    sent = message(Operation.QUERY, "shop/pod/wäb")
    payload = wire.encode(sent)
    assert intake.read(payload, max_bytes=len(payload)).resource == sent.resource
    with pytest.raises(MessageTooLargeError):
        intake.read(payload, max_bytes=len(payload) - 1)
    for nonsense in (b"", b"[]", payload.replace("ä".encode(), b"\xff")):
        with pytest.raises(WireError):
            intake.read(nonsense, max_bytes=1024)


def test_a_refused_read_is_answered_by_the_bare_status() -> None:
    request = message(Operation.QUERY, "shop/secret/db")
    answer = intake.refuse(request, FORBIDDEN)
    assert (answer.parent_id, answer.resource) == (request.msg_id, "shop/secret/db")
    assert (answer.route.source, answer.route.group) == ("edgecontroller", "resource")
    assert wire.status_of(answer.content) == FORBIDDEN


@pytest.mark.parametrize(
    ("operation", "resource"),
    [
        (Operation.INSERT, "null/node/n2"),
        (Operation.PATCH, "null/nodepatch/n2"),
        (Operation.PATCH, "shop/podpatch/web"),
        (Operation.INSERT, "shop/pod/web"),
        (Operation.QUERY, "kube-node-lease/lease/n2"),
        (Operation.UPDATE, "kube-node-lease/lease/n2"),
    ],
)
def test_a_refused_write_is_answered_in_the_wrapping_of_its_answer(
    operation: Operation, resource: str
) -> None:
    answer = intake.refuse(message(operation, resource), FORBIDDEN)
    wrapped = wire.loads_as(answer.content, wire.ObjectResponse)
    assert bytes(wrapped.Object) == b"null"
    assert wrapped.Err is not None
    assert wrapped.Err.ErrStatus == FORBIDDEN


def test_an_unknown_operation_is_answered_with_405_where_it_can_be() -> None:
    answer = intake.refuse_operation(UnknownOperationError("explode", "id-1", "shop/pod/web"))
    assert answer is not None
    assert answer.parent_id == "id-1"
    status = wire.status_of(answer.content)
    assert status is not None
    assert status.code == 405
    assert intake.refuse_operation(UnknownOperationError("explode", "", "shop/pod/web")) is None
    assert intake.refuse_operation(UnknownOperationError("explode", "i" * 999, "r")) is None


def test_events_alone_are_not_answered() -> None:
    assert not intake.is_answered(message(Operation.INSERT, "shop/event/web.1"))
    assert intake.is_answered(message(Operation.INSERT, "shop/pod/event"))


def test_the_device_twin_is_told_in_its_own_group() -> None:
    request = message(Operation.GET, "membership/detail", source="twin", group="resource")
    answer = intake.confirm_membership(request)
    assert (answer.route.group, answer.parent_id) == ("twin", request.msg_id)
    assert bytes(answer.content) != bytes(NULL)


def test_a_pod_that_is_gone_already_counts_as_deleted() -> None:
    deletion = message(Operation.DELETE, "shop/pod/web")
    verdict = judge(NODE, deletion, LocationCache())
    assert verdict.status is not None
    answer = intake.refuse(deletion, verdict.status)
    assert (bytes(answer.content), answer.parent_id) == (b'"OK"', deletion.msg_id)
    assert wire.status_of(intake.refuse(deletion, FORBIDDEN).content) == FORBIDDEN


def acks(content: object, parent: str = "") -> Message:
    one = new("metamanager", "resource", Operation.RESPONSE, "", raw(content))
    header = msgspec.structs.replace(one.header, parent_msg_id=parent)
    return msgspec.structs.replace(one, header=header)


def test_a_response_acknowledges_its_parent_or_what_it_lists() -> None:
    assert intake.acknowledged(acks("OK", "p"), ALL) == ["p"]
    assert intake.acknowledged(acks({"acked": ["p", "q"]}), ALL) == ["p", "q"]
    assert intake.acknowledged(acks({"acked": ["p", "q"]}), NONE) == [""]


def test_a_window_of_ids_can_be_acknowledged_at_once_and_no_more_is_looked_at() -> None:
    window = ["0f0e6a9c-8f6c-4a52-9d49-0b1c8d7e6f5a"] * 256
    assert intake.acknowledged(acks({"acked": window}), ALL) == window
    for content in ({"acked": [""] * intake.MAX_ACK_BYTES}, {"acked": [1]}, "OK"):
        with pytest.raises(WireError):
            intake.acknowledged(acks(content), ALL)
