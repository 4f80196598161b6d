"""Why a connection is closed: each is counted, logged, and told to the edge in the close frame.

====  ==================  ==========================================================================
code  counted as          because
====  ==================  ==========================================================================
1001  (not a refusal)     cloudcore stops
1002  ``protocol_error``  the frames are not WebSocket's
1003  ``binary_frame``    messages are text frames
1007  ``malformed``       no JSON, no message, a wrong type, nested too deep, not UTF-8
1009  ``too_large``       above ``max_message_bytes``
4401  ``revoked``         the certificate was revoked; only another one helps
4408  ``silent``          not a byte for ``keepalive_s``
4409  ``replaced``        a newer connection of the node has taken over
4410  (not a refusal)     the Node was deleted, and the edge is KubeEdge's
4413  ``stalled``         the edge takes nothing of what it is sent
4429  ``node_limit``      it came in while the last place was being taken
====  ==================  ==========================================================================

All else that cannot be done is answered by a ``Status`` (400, 403, 404, 405): the session lives on.
"""

from typing import Final

from msgspec import Struct

MAX_REASON_BYTES: Final = 123
"""RFC 6455, section 5.5: a control frame has 125 bytes, two of which are the code."""


class Close(Struct, frozen=True):
    """A reason to close: the code, the counter's label (empty for none), a text for the edge."""

    code: int
    counted_as: str
    text: str

    def frame_text(self) -> str:
        """Return as much of the text as a close frame holds."""
        return self.text.encode()[:MAX_REASON_BYTES].decode(errors="ignore")


GOING_AWAY: Final = Close(1001, "", "cloudcore stops")
BINARY_FRAME: Final = Close(1003, "binary_frame", "messages are text frames")
REVOKED: Final = Close(
    4401,
    "revoked",
    "the certificate is revoked: enrol this edge anew, with a new token that is bound to its name",
)
REPLACED: Final = Close(4409, "replaced", "a newer connection of this node has taken over")
NODE_DELETED: Final = Close(4410, "", "the Node of this edge was deleted")
STALLED: Final = Close(4413, "stalled", "the edge takes nothing of what it is sent")
NODE_LIMIT: Final = Close(4429, "node_limit", "this cloudcore has as many nodes as it may have")


def malformed(why: str) -> Close:
    """Return the reason for bytes that are no message."""
    return Close(1007, "malformed", why)


def too_large(why: str) -> Close:
    """Return the reason for a message above the limit."""
    return Close(1009, "too_large", why)


def silent(keepalive_s: float) -> Close:
    """Return the reason for an edge that has not been heard for ``keepalive_s`` seconds."""
    return Close(4408, "silent", f"not a byte for {keepalive_s:g} s")


def by_library(code: int, text: str) -> Close | None:
    """Return the refusal that the WebSocket library sent by itself; None where it is none."""
    match code:
        case 1002:
            return Close(code, "protocol_error", text)
        case 1007:
            return malformed(text)
        case 1009:
            return too_large(text)
        case _:
            return None
