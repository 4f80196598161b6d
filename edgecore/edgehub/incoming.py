"""What a frame from the cloud is: a message, or one of the frames that were agreed on. Pure."""

from common.beehive.message import Message
from common.capabilities import Capabilities, Capability
from common.errors import WireError
from common.frames import BeatAnswer, Begin, Chunk, Deflated, inflate
from common.frames import decode as decode_frame
from common.wire import MAX_MESSAGE_BYTES, decode

Incoming = Message | BeatAnswer | Begin | Chunk


def read(payload: str | bytes, capabilities: Capabilities) -> Incoming:
    """Return what ``payload`` says: text, or bytes of a binary frame.

    Args:
        payload: what came.
        capabilities: those of the connection.

    Raises:
        UnknownOperationError: as ``wire.decode``.
        WireError: it is no message, or a frame that this connection does not have.
    """
    if isinstance(payload, str):
        return decode(payload)
    frame = decode_frame(payload)
    match frame:
        case Deflated(data) if Capability.DEFLATE in capabilities:
            return decode(inflate(data, max_bytes=MAX_MESSAGE_BYTES))
        case BeatAnswer() if Capability.BEATS in capabilities:
            return frame
        case Begin() | Chunk() if Capability.CHUNKS in capabilities:
            return frame
    raise WireError(f"a frame that was not agreed on: {type(frame).__name__}")
