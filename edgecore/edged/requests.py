"""Requests of edged to the cloud, or to whoever answers them first, and what the answers mean."""

from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct

from common.beehive.context import MessageContext
from common.beehive.message import NULL, new
from common.errors import MailboxClosedError, ReplyTimeoutError, WireError
from common.names import GroupName, ModuleName, Operation
from common.status import Status, failure
from common.wire import loads

TIMEOUT_S: Final = 60.0
"""How long an answer may take. KubeEdge waits as long (RemoteQueryTimeout)."""


class Link(Struct):
    """Whether the cloud can be reached. Written by ``Edged`` only, read by all who speak to it."""

    connected: bool = False
    generation: int = 0
    """Grows with each connection: what was refused or sent on an older one is tried again."""
    has_beats: bool = False
    """The link's own signs of life carry the renewal of the node's lease."""


class Answer(Struct, frozen=True):
    """What came back: an object (or ``"OK"``), or why there is none."""

    value: Any = None
    status: Status | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.status is None

    @property
    def not_found(self) -> bool:
        """Whether the object definitely does not exist."""
        return self.status is not None and self.status.is_not_found

    @property
    def obj(self) -> dict[str, Any]:
        """The object; empty where the answer has none."""
        return self.value if isinstance(self.value, dict) else {}


class Requests:
    """Edged's way to ask. Answers come from metamanager, which asks the cloud where it must."""

    def __init__(self, context: MessageContext) -> None:
        self._context = context

    async def ask(
        self,
        operation: Operation,
        resource: str,
        content: msgspec.Raw = NULL,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Send a request and return its answer; no answer in time is an answer with status 504.

        Args:
            operation: insert, update, query, patch or delete.
            resource: in the site form, ``namespace/type/name``.
            content: of the request.
            timeout_s: seconds to wait.
        """
        message = new(ModuleName.EDGED, GroupName.META, operation, resource, content)
        try:
            reply = await self._context.send_sync(
                ModuleName.META_MANAGER, message, timeout_s=timeout_s
            )
            return read_answer(reply.data())
        except ReplyTimeoutError as error:
            return Answer(status=failure(HTTPStatus.GATEWAY_TIMEOUT, str(error)))
        except MailboxClosedError:
            # The daemon is stopping, and so will whoever asked.
            return Answer(status=failure(HTTPStatus.SERVICE_UNAVAILABLE, "shutting down"))
        except WireError as error:
            return Answer(status=failure(HTTPStatus.BAD_GATEWAY, str(error)))


def read_answer(data: bytes) -> Answer:
    """Return the answer in ``data``, whichever of the wire's three forms it has.

    ``{"ErrStatus": …}`` and ``{"Object": …, "Err": …}`` are unwrapped; everything else is the
    value. An ``Err`` that is empty is KubeEdge's way to say that there was none.

    Raises:
        WireError: it is not JSON, or an error without a Status.
    """
    value = "OK" if data == b"OK" else loads(data)
    if not isinstance(value, dict):
        return Answer(value)
    if value.keys() == {"Object", "Err"}:
        error = value["Err"]
        return Answer(status=_status(error)) if error else Answer(value["Object"])
    if "ErrStatus" in value:
        return Answer(status=_status(value))
    return Answer(value)


def _status(error: Any) -> Status:
    try:
        return msgspec.convert(error["ErrStatus"], Status)
    except (TypeError, KeyError, msgspec.ValidationError) as cause:
        raise WireError(f"an error that is no Status: {cause}") from cause
