"""Contents in chunks. Everything is real; a cloud is played by cutting contents into pieces."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.beehive.message import Message, new, raw
from common.errors import MessageTooLargeError, UnknownOperationError, WireError
from common.frames import Begin, Chunk, Credit, Encoding, deflate, hash_of
from common.names import Operation
from common.wire import MAX_MESSAGE_BYTES, encode
from edgecore.edgehub.transfers import Event, Step, Transfers

MESSAGE = new("edgecontroller", "resource", Operation.UPDATE, "default/configmap/web")
CONTENT = bytes(raw({"data": {"key": "0123456789" * 10}}))


def begin(content: bytes = CONTENT, number: int = 1, *, squeezed: bool = False) -> Begin:
    sent = deflate(content) if squeezed else content
    encoding = Encoding.DEFLATE if squeezed else Encoding.RAW
    return Begin(number, encoding, len(sent), len(content), hash_of(sent), encode(MESSAGE))


def whole(step: Step) -> Message:
    assert step.whole is not None
    return step.whole.message()


def send(transfers: Transfers, sent: bytes, number: int, offset: int, size: int) -> Step:
    """Send from ``offset`` on, to the end; return the last step."""
    step = Step()
    while offset < len(sent):
        step = transfers.take(Chunk(number, offset, sent[offset : offset + size]))
        assert step.credit is not None
        offset = step.credit.offset
    return step


@given(st.binary(max_size=300), st.integers(1, 60), st.booleans())
def test_any_content_arrives_in_chunks_of_any_size(
    noise: bytes,
    size: int,
    squeezed: bool,  # noqa: FBT001 - hypothesis fills it in
) -> None:
    content = bytes(raw({"binaryData": noise.hex()}))
    transfers = Transfers()
    assert transfers.begin(begin(content, 7, squeezed=squeezed)).credit == Credit(7, 0)
    sent = deflate(content) if squeezed else content
    step = send(transfers, sent, 7, 0, size)
    assert step.credit == Credit(7, len(sent))
    assert step.events == (Event.COMPLETED,)
    assert whole(step) == msgspec.structs.replace(MESSAGE, content=msgspec.Raw(content))


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 30))
def test_cuts_cost_no_byte_that_has_come(cuts: list[int], size: int) -> None:
    transfers, came = Transfers(), 0
    for number, chunks in enumerate(cuts):
        transfers.new_connection()
        step = transfers.begin(begin(number=number))
        assert step.credit == Credit(number, came)
        assert step.events == ((Event.RESUMED,) if came else (Event.BEGUN,))
        for _ in range(chunks):
            if came + size >= len(CONTENT):
                break
            transfers.take(Chunk(number, came, CONTENT[came : came + size]))
            came += size
    transfers.new_connection()
    transfers.begin(begin(number=99))
    assert bytes(whole(send(transfers, CONTENT, 99, came, size)).content) == CONTENT


def test_another_content_takes_the_place_of_the_first() -> None:
    transfers = Transfers()
    transfers.begin(begin())
    transfers.take(Chunk(1, 0, CONTENT[:10]))
    other = bytes(raw({"data": {}}))
    step = transfers.begin(begin(other, 2))
    assert (step.credit, step.events) == (Credit(2, 0), (Event.REPLACED, Event.BEGUN))
    assert transfers.take(Chunk(1, 10, CONTENT[10:])).events == (Event.STRAY,)
    assert bytes(whole(transfers.take(Chunk(2, 0, other))).content) == other
    assert transfers.begin(begin(number=3)).credit == Credit(3, 0)


def test_a_content_that_is_not_what_was_announced_begins_anew() -> None:
    transfers = Transfers()
    transfers.begin(begin())
    step = transfers.take(Chunk(1, 0, CONTENT.replace(b"9", b"8")))
    assert (step.credit, step.whole, step.events) == (Credit(1, 0), None, (Event.CORRUPT,))
    assert bytes(whole(send(transfers, CONTENT, 1, 0, 20)).content) == CONTENT


def test_chunks_of_nothing_and_repeated_ones_change_nothing() -> None:
    transfers = Transfers()
    assert transfers.take(Chunk(1, 0, b"x")) == Step(events=(Event.STRAY,))
    transfers.begin(begin())
    assert transfers.take(Chunk(1, 0, CONTENT[:30])).credit == Credit(1, 30)
    assert transfers.take(Chunk(1, 0, CONTENT[:20])).credit == Credit(1, 30)
    assert transfers.take(Chunk(1, 20, CONTENT[20:40])).credit == Credit(1, 40)
    gap = transfers.take(Chunk(1, 50, CONTENT[50:]))
    assert (gap.credit, gap.events) == (Credit(1, 40), (Event.STRAY,))
    transfers.new_connection()
    assert transfers.take(Chunk(1, 40, CONTENT[40:])) == Step(events=(Event.STRAY,))


def test_more_than_was_announced_is_an_error() -> None:
    transfers = Transfers()
    transfers.begin(begin())
    with pytest.raises(WireError, match="more than"):
        transfers.take(Chunk(1, 0, CONTENT + b"x"))
    assert transfers.begin(begin(number=2)).credit == Credit(2, 0)


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_nothing_is_not_announced(sizes: tuple[int, int]) -> None:
    with pytest.raises(WireError, match="nothing"):
        Transfers().begin(Begin(1, Encoding.RAW, *sizes, b"h" * 16, b"{}"))


@pytest.mark.parametrize("sizes", [(MAX_MESSAGE_BYTES + 1, 5), (5, MAX_MESSAGE_BYTES + 1)])
def test_more_than_a_message_may_have_is_not_waited_for(sizes: tuple[int, int]) -> None:
    with pytest.raises(MessageTooLargeError):
        Transfers().begin(Begin(1, Encoding.DEFLATE, *sizes, b"h" * 16, b"{}"))


def arrived(content: bytes, announced: Begin) -> Message:
    transfers = Transfers()
    transfers.begin(announced)
    return whole(transfers.take(Chunk(announced.transfer, 0, content)))


@pytest.mark.parametrize("content", [b"{broken", b"[" * 500, b"{}{}"])
def test_a_content_that_is_no_json_is_an_error(content: bytes) -> None:
    with pytest.raises(WireError):
        arrived(content, begin(content))


def test_what_inflates_to_another_size_is_an_error() -> None:
    longer, shorter = begin(CONTENT, squeezed=True), begin(CONTENT, squeezed=True)
    longer = Begin(1, longer.encoding, longer.size, len(CONTENT) + 1, longer.hash, longer.envelope)
    shorter = Begin(1, shorter.encoding, shorter.size, 10, shorter.hash, shorter.envelope)
    for announced in (longer, shorter):
        with pytest.raises(WireError):
            arrived(deflate(CONTENT), announced)


def test_an_envelope_with_an_unknown_verb_is_told_from_one_that_is_none() -> None:
    sound = begin()
    strange = sound.envelope.replace(b'"update"', b'"createvolume"')
    with pytest.raises(UnknownOperationError):
        arrived(CONTENT, Begin(1, Encoding.RAW, sound.size, sound.size, sound.hash, strange))
    with pytest.raises(WireError, match="not a message"):
        arrived(CONTENT, Begin(1, Encoding.RAW, sound.size, sound.size, sound.hash, b"{}"))
