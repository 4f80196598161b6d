"""Bytes to messages and back: whatever the peer sends is a message or a ``WireError``.

On the wire each message is one JSON object in one WebSocket text frame (KubeEdge
pkg/viaduct/pkg/lane/wsnopack.go). Decoding validates the whole text as JSON but parses the envelope
only; the content stays raw.
"""

import re
from typing import Any, Final, TypeVar

import msgspec

from common.beehive.message import Message
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.names import Operation
from common.status import Status, StatusError

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""What KubeEdge's QUIC transport allows; etcd takes 1.5 MiB for one object."""

MAX_DEPTH: Final = 128
"""Arrays and objects inside each other. Kubernetes' own objects stay below 40."""

_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")

_OPERATIONS: Final = frozenset(Operation)

_ERR_STATUS_WITHIN: Final = 64
"""Bytes in which an error's first key must appear, white space in front included."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Message)


T = TypeVar("T")


class _Envelope(msgspec.Struct):
    """As little of a message as is needed to answer one that has an unknown verb."""

    class _Header(msgspec.Struct):
        msg_id: str

    class _Route(msgspec.Struct):
        operation: str
        resource: str = ""

    header: _Header
    route: _Route


class ObjectResponse(msgspec.Struct, frozen=True):
    """How answers to writes are wrapped: Go field names, both always there.

    Source: KubeEdge edge/pkg/metamanager/client (ObjectResp).
    """

    Object: msgspec.Raw
    Err: StatusError | None = None


def encode(message: Message) -> bytes:
    """Return the text frame of ``message``."""
    return _encoder.encode(message)


def decode(data: str | bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Message:
    """Return the message in ``data``.

    Raises:
        MessageTooLargeError: longer than ``max_bytes``.
        UnknownOperationError: sound, but with a verb that does not exist.
        WireError: not JSON, not the envelope, a field of the wrong type, or nested deeper than
            ``MAX_DEPTH``.
    """
    encoded = data.encode() if isinstance(data, str) else data
    if len(encoded) > max_bytes:
        raise MessageTooLargeError(f"message of {len(encoded)} bytes, allowed are {max_bytes}")
    check_depth(encoded)
    try:
        return _decoder.decode(encoded)
    except msgspec.ValidationError as error:
        _raise_unknown_operation(encoded)
        raise WireError(f"not a message: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error


def _raise_unknown_operation(encoded: bytes) -> None:
    """Raise ``UnknownOperationError`` if the verb is all that is wrong with the message."""
    try:
        envelope = msgspec.json.decode(encoded, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # behind the verb it is no JSON at all
    operation = envelope.route.operation
    if operation not in _OPERATIONS:
        raise UnknownOperationError(operation, envelope.header.msg_id, envelope.route.resource)


def check_depth(encoded: bytes) -> None:
    """Refuse JSON that is nested deeper than ``MAX_DEPTH``, before any recursive parser sees it.

    A text with fewer opening brackets than that cannot be, which is all that most messages need:
    two counts.

    Raises:
        WireError: the text is nested too deep.
    """
    if encoded.count(b"[") + encoded.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRINGS.sub(b"", encoded).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        outer = brackets.replace(b"[]", b"")
        if len(outer) == len(brackets):
            return  # nothing is left, or it is no JSON: the parser will tell
        brackets = outer
    if brackets:
        raise WireError(f"JSON nested deeper than {MAX_DEPTH}")


def loads(data: bytes | msgspec.Raw) -> Any:
    """Return the Python value of a message's content.

    Raises:
        WireError: it is not JSON.
    """
    return loads_as(data, Any)


def loads_as(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Return ``data`` as ``kind``."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"unusable content: {error}") from error


def status_of(data: bytes | msgspec.Raw) -> Status | None:
    """Return the Status if ``data`` is a bare error, ``{"ErrStatus": …}``; else None.

    An error is never a value: whoever stores or uses an answer asks this first.
    """
    if not bytes(memoryview(data)[:_ERR_STATUS_WITHIN]).lstrip().startswith(b'{"ErrStatus"'):
        return None
    return loads_as(data, StatusError).ErrStatus
