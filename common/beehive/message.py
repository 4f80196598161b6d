"""The message that modules and daemons exchange, exactly as it stands on the wire.

``{"header": {msg_id, parent_msg_id, timestamp (ms), resourceversion, sync, type},
"route": {source, destination, group, operation, resource}, "content": any JSON}``

Content stays the bytes that came from the watch stream or from disk until somebody needs to look
into it: a ConfigMap for a thousand nodes is parsed and encoded once. A reply is made only from its
request, so parent ids always match.

Source: KubeEdge staging/src/github.com/kubeedge/beehive/pkg/core/model/message.go.
"""

import time
import uuid
from typing import Final

import msgspec

from common.errors import WireError
from common.names import Operation
from common.status import Status, StatusError

NULL: Final = msgspec.Raw(b"null")
OK: Final = msgspec.Raw(b'"OK"')
"""Content of an acknowledgement, by KubeEdge's convention."""

_encode = msgspec.json.Encoder().encode


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who this message is and which message it answers."""

    msg_id: str
    parent_msg_id: str = ""
    timestamp: int = 0
    """Milliseconds since the epoch by the sender's clock."""
    resourceversion: str = ""
    sync: bool = False
    """Set by ``send_sync``: the sender waits for the reply. Never set on the wire."""
    type: str = ""


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a message comes from and what it is about."""

    operation: Operation
    source: str = ""
    destination: str = ""
    group: str = ""
    resource: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message. Build requests with ``new``, answers with ``reply``."""

    header: Header
    route: Route
    content: msgspec.Raw = NULL

    @property
    def msg_id(self) -> str:
        """The id of this message."""
        return self.header.msg_id

    @property
    def parent_id(self) -> str:
        """The id of the message that this one answers; empty where it answers none."""
        return self.header.parent_msg_id

    @property
    def operation(self) -> Operation:
        """The verb."""
        return self.route.operation

    @property
    def resource(self) -> str:
        """The address: see ``common.resource``."""
        return self.route.resource

    def traced(self, node: str) -> dict[str, str]:
        """Return the fields of a log line by which the message can be followed through daemons."""
        return {"node": node, "key": self.resource[:256], "msg_id": self.msg_id[:64]}

    def about(self, resource: str) -> "Message":
        """Return this message with another resource: hubs add and remove the node's prefix."""
        return msgspec.structs.replace(
            self, route=msgspec.structs.replace(self.route, resource=resource)
        )

    def one_way(self) -> "Message":
        """Return this message as one whose reply nobody waits for."""
        return msgspec.structs.replace(
            self, header=msgspec.structs.replace(self.header, sync=False)
        )

    def data(self) -> bytes:
        """Return the JSON that the content holds, also where it was sent as a string of JSON text.

        KubeEdge's patches are strings, its objects are objects, and its receivers accept either
        (GetContentData).

        Raises:
            WireError: the content is a string that is not sound JSON or not UTF-8.
        """
        raw = bytes(self.content)
        if not raw.startswith(b'"'):
            return raw
        try:
            return msgspec.json.decode(raw, type=str).encode()
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            raise WireError(f"content is not a JSON string: {error}") from error


def new(
    source: str,
    group: str,
    operation: Operation,
    resource: str,
    content: msgspec.Raw = NULL,
    *,
    resource_version: str = "",
) -> Message:
    """Return a new message with an id of its own.

    Args:
        source: the module that speaks.
        group: the group it speaks to.
        operation: the verb.
        resource: what it is about.
        content: JSON as it shall stand on the wire; ``raw`` makes it from Python values.
        resource_version: of the object in ``content``.
    """
    header = Header(
        msg_id=str(uuid.uuid4()),
        timestamp=time.time_ns() // 1_000_000,
        resourceversion=resource_version,
    )
    return Message(header, Route(operation, source, "", group, resource), content)


def reply(
    request: Message,
    content: msgspec.Raw = OK,
    *,
    source: str | None = None,
    group: str | None = None,
    resource_version: str = "",
) -> Message:
    """Return the ``response`` to ``request``: same resource, and its id as parent.

    Source and group are the request's, as in an acknowledgement, unless given.
    """
    message = new(
        request.route.source if source is None else source,
        request.route.group if group is None else group,
        Operation.RESPONSE,
        request.resource,
        content,
        resource_version=resource_version,
    )
    return msgspec.structs.replace(
        message, header=msgspec.structs.replace(message.header, parent_msg_id=request.msg_id)
    )


def refusal(
    request: Message, status: Status, *, source: str | None = None, group: str | None = None
) -> Message:
    """Return the ``response`` that says why ``request`` was not done: ``{"ErrStatus": {...}}``."""
    return reply(request, raw(StatusError(status)), source=source, group=group)


def raw(value: object) -> msgspec.Raw:
    """Return ``value`` (what JSON can say, or a msgspec Struct) as content."""
    return msgspec.Raw(_encode(value))
