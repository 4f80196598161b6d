"""What a frame from the cloud is. Everything is real; there is nothing to fake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import capabilities
from common.beehive.message import Message, new, raw
from common.capabilities import Capability
from common.errors import WireError
from common.frames import (
    Beat,
    BeatAnswer,
    Begin,
    Chunk,
    Credit,
    Deflated,
    Encoding,
    Frame,
    deflate,
    encode,
)
from common.names import Operation
from common.wire import MAX_MESSAGE_BYTES
from common.wire import encode as encode_message
from edgecore.edgehub.incoming import read

MESSAGE = new("edgecontroller", "resource", Operation.UPDATE, "default/pod/ä", raw({"a": "ä"}))
BEGIN = Begin(1, Encoding.RAW, 5, 5, b"h" * 16, b"{}")


def test_text_is_a_message_whatever_was_agreed_on() -> None:
    text = encode_message(MESSAGE).decode()
    assert read(text, capabilities.NONE) == MESSAGE
    assert read(text, capabilities.ALL) == MESSAGE


def test_a_compressed_message_is_a_message() -> None:
    payload = encode(Deflated(deflate(encode_message(MESSAGE))))
    assert read(payload, frozenset({Capability.DEFLATE})) == MESSAGE


@pytest.mark.parametrize(
    ("frame", "capability"),
    [
        (Deflated(deflate(encode_message(MESSAGE))), Capability.DEFLATE),
        (BeatAnswer(1, 2), Capability.BEATS),
        (BEGIN, Capability.CHUNKS),
        (Chunk(1, 0, b"x"), Capability.CHUNKS),
    ],
)
def test_a_frame_needs_its_capability(frame: Frame, capability: Capability) -> None:
    payload = encode(frame)
    read(payload, frozenset({capability}))
    with pytest.raises(WireError, match="not agreed on"):
        read(payload, capabilities.ALL - {capability})


@pytest.mark.parametrize("frame", [Beat(1, progresses=True), Credit(1, 5)])
def test_what_only_an_edge_says_is_not_taken_from_a_cloud(frame: Frame) -> None:
    with pytest.raises(WireError, match="not agreed on"):
        read(encode(frame), capabilities.ALL)


def test_a_message_that_inflates_beyond_all_bounds_is_refused() -> None:
    payload = encode(Deflated(deflate(bytes(MAX_MESSAGE_BYTES + 1))))
    with pytest.raises(WireError, match="inflates to more"):
        read(payload, capabilities.ALL)


@given(st.binary() | st.text())
def test_whatever_comes_is_understood_or_refused(payload: bytes | str) -> None:
    try:
        assert isinstance(read(payload, capabilities.ALL), Message | BeatAnswer | Begin | Chunk)
    except WireError:
        return
