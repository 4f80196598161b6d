"""What happens to a message that a node sent: a pure judgement that the session carries out."""

from enum import Enum, auto
from typing import Final

import msgspec
from msgspec import Struct

from cloudcore.cloudhub.authorize import Locations, authorize
from common import wire
from common.beehive.message import NULL, Header, Message, Route, raw, refusal, reply
from common.capabilities import Capabilities, Capability
from common.errors import UnknownOperationError, WireError
from common.names import GroupName, ModuleName, NodeID, Operation, ResourceType
from common.status import Status, StatusError, failure

MAX_ID_CHARS: Final = 128
MAX_RESOURCE_CHARS: Final = 1024

MAX_ACK_BYTES: Final = 64 * 1024
"""Of the list of what one message acknowledges: a window's worth of ids is a fifth of that."""

MEMBERSHIP_RESOURCE: Final = "membership/detail"

# Modules of KubeEdge's edge that this cloud has no counterpart for. What they send is dropped and
# not refused: nobody there waits for a refusal, and their group would be needed to deliver one.
_UNSERVED_SOURCES: Final = frozenset(
    {"twin", "devicetwin", "bus", "eventbus", "servicebus", "metaserver", "taskmanager"}
)
_UNSERVED_GROUPS: Final = frozenset({"twin", "user", "bus", "taskmanager", "dynamiccontroller"})
_UNSERVED_OPERATIONS: Final = frozenset(
    {
        Operation.UPLOAD,
        Operation.UPGRADE,
        Operation.PREPULL,
        Operation.UPDATE_NODE_ACTION_STATUS,
        Operation.UNHOLD_UPGRADE,
    }
)

# Writes, and whatever concerns leases, are answered by {"Object": ..., "Err": ...}.
_WRAPPED: Final = frozenset(
    {
        (Operation.INSERT, ResourceType.NODE),
        (Operation.INSERT, ResourceType.POD),
        (Operation.PATCH, ResourceType.NODE_PATCH),
        (Operation.PATCH, ResourceType.POD_PATCH),
        (Operation.QUERY, ResourceType.LEASE),
        (Operation.INSERT, ResourceType.LEASE),
        (Operation.UPDATE, ResourceType.LEASE),
    }
)


class _Acked(msgspec.Struct):
    acked: list[str]


class Intake(Enum):
    """What a session does with a message."""

    KEEPALIVE = auto()
    ACK = auto()
    FAULT = auto()
    """The edge could not do what it was told; it will be told again."""

    MEMBERSHIP = auto()
    UNSERVED = auto()
    FORWARD = auto()
    REFUSE = auto()


class Verdict(Struct, frozen=True):
    """A judgement; ``status`` is there only with ``Intake.REFUSE``."""

    intake: Intake
    status: Status | None = None


def read(payload: bytes, *, max_bytes: int) -> Message:
    """Return the message that a text frame holds.

    Raises:
        WireError: it holds none, or one that nobody could answer.
        MessageTooLargeError: it is longer than ``max_bytes``.
        UnknownOperationError: nobody knows its verb.
    """
    if not payload.isascii():
        _check_text(payload)
    message = wire.decode(payload, max_bytes=max_bytes)
    check_envelope(message)
    return message


def check_envelope(message: Message) -> None:
    """Refuse an envelope that nobody could answer or that costs more than it says.

    Raises:
        WireError: the id is missing or too long, or the resource is too long.
    """
    if not 0 < len(message.msg_id) <= MAX_ID_CHARS:
        raise WireError(f"header.msg_id must have 1 to {MAX_ID_CHARS} characters")
    if len(message.resource) > MAX_RESOURCE_CHARS:
        raise WireError(f"route.resource may have {MAX_RESOURCE_CHARS} characters")


def judge(node: NodeID, message: Message, locations: Locations) -> Verdict:
    """Return what to do with ``message``, whose envelope is sound."""
    match message.operation:
        case Operation.KEEPALIVE:
            return Verdict(Intake.KEEPALIVE)
        case Operation.RESPONSE:
            return Verdict(Intake.ACK)
        case Operation.ERROR:
            return Verdict(Intake.FAULT)
    route = message.route
    if route.resource == MEMBERSHIP_RESOURCE:
        return Verdict(Intake.MEMBERSHIP)
    if (
        route.source in _UNSERVED_SOURCES
        or route.group in _UNSERVED_GROUPS
        or route.operation in _UNSERVED_OPERATIONS
    ):
        return Verdict(Intake.UNSERVED)
    status = authorize(node, message, locations)
    return Verdict(Intake.FORWARD) if status is None else Verdict(Intake.REFUSE, status)


def acknowledged(message: Message, capabilities: Capabilities) -> list[str]:
    """Return the ids that ``message``, a response of an edge of ``capabilities``, acknowledges.

    Raises:
        WireError: it is a list of something else, or of more than an edge could have.
    """
    if message.parent_id or Capability.ACKS not in capabilities:
        return [message.parent_id]
    size = len(memoryview(message.content))
    if size > MAX_ACK_BYTES:
        raise WireError(f"acknowledgements of {size} bytes, allowed are {MAX_ACK_BYTES}")
    return wire.loads_as(message.content, _Acked).acked


def is_answered(message: Message) -> bool:
    """Whether the sender of ``message`` gets a response on the wire; of an event it gets none."""
    return _type(message) != ResourceType.EVENT


def refuse(request: Message, status: Status) -> Message:
    """Return the response that says ``status`` in the form that the sender of ``request`` reads.

    To the deletion of a pod that does not exist it says OK: that is what the edge wanted.
    """
    source, group = ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE
    if request.operation is Operation.DELETE and status.is_not_found:
        return reply(request, source=source, group=group)
    if (request.operation, _type(request)) not in _WRAPPED:
        return refusal(request, status, source=source, group=group)
    content = raw(wire.ObjectResponse(NULL, StatusError(status)))
    return reply(request, content, source=source, group=group)


def refuse_operation(error: UnknownOperationError) -> Message | None:
    """Return the response to a message whose verb does not exist.

    None where the message has no id that could be answered.
    """
    if not 0 < len(error.msg_id) <= MAX_ID_CHARS or len(error.resource) > MAX_RESOURCE_CHARS:
        return None
    # Some verb must stand in the request; a response does not repeat it.
    request = Message(Header(error.msg_id), Route(Operation.NULL, resource=error.resource))
    return refuse(request, failure(405, str(error)))


def confirm_membership(request: Message) -> Message:
    """Return what keeps KubeEdge's device twin from asking again every minute.

    Source: KubeEdge edge/pkg/devicetwin (any message of group twin with the parent id confirms).
    """
    return reply(request, source="devicecontroller", group="twin")


def _check_text(payload: bytes) -> None:
    """Refuse what is not UTF-8, as WebSocket text has to be."""
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise WireError(f"not UTF-8: {error.reason}") from error


def _type(message: Message) -> str:
    return message.resource.partition("/")[2].partition("/")[0]
