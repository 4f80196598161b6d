"""Binary frames. Everything is real; there is nothing to fake."""

import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MessageTooLargeError, WireError
from common.frames import (
    CHUNK_BYTES,
    Beat,
    BeatAnswer,
    Begin,
    Chunk,
    Credit,
    Deflated,
    Encoding,
    Frame,
    FrameType,
    decode,
    deflate,
    deflate_joinable,
    encode,
    hash_of,
    inflate,
    join,
)

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)

FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Deflated, st.binary()),
    st.builds(Beat, U32, st.booleans(), st.none() | U64),
    st.builds(BeatAnswer, U32, U64, st.booleans()),
    st.builds(
        Begin,
        U32,
        st.sampled_from(Encoding),
        U32,
        U32,
        st.binary(min_size=16, max_size=16),
        st.binary(),
    ),
    st.builds(Chunk, U32, U32, st.binary(max_size=CHUNK_BYTES)),
    st.builds(Credit, U32, U32),
)


@given(FRAMES)
def test_a_frame_that_is_encoded_is_decoded_to_itself(frame: Frame) -> None:
    assert decode(encode(frame)) == frame


@pytest.mark.parametrize(
    ("frame", "payload"),
    [
        (Deflated(b"x"), "0178"),
        (Beat(7, progresses=True), "020100000007"),
        (Beat(7, progresses=False, digest=255), "02020000000700000000000000ff"),
        (BeatAnswer(7, 2**40, wants_digest=True), "0301000000070000010000000000"),
        (
            Begin(1, Encoding.DEFLATE, 2, 3, bytes(range(16)), b"{}"),
            "0400000001010000000200000003000102030405060708090a0b0c0d0e0f7b7d",
        ),
        (Chunk(1, 4096, b"ab"), "0500000001000010006162"),
        (Credit(1, 4096), "060000000100001000"),
    ],
)
def test_what_stands_on_the_wire_stays_what_it_is(frame: Frame, payload: str) -> None:
    assert encode(frame).hex() == payload


@given(
    st.binary() | st.builds(lambda k, b: bytes([k]) + b, st.sampled_from(FrameType), st.binary())
)
def test_any_bytes_are_a_frame_or_refused(payload: bytes) -> None:
    try:
        frame = decode(payload)
    except WireError:
        return
    # Flags that this version does not know are passed over; all else is said again as it was.
    assert decode(encode(frame)) == frame
    assert len(encode(frame)) == len(payload)


@given(FRAMES, st.data())
def test_a_frame_that_is_cut_off_is_refused_or_is_a_shorter_one(
    frame: Frame, data: st.DataObject
) -> None:
    whole = encode(frame)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        shorter = decode(part)
    except WireError:
        return
    assert isinstance(shorter, Deflated | Begin | Chunk)
    assert type(shorter) is type(frame)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x07",
        b"\x40channel",
        encode(Beat(1, progresses=True)) + b"x",
        encode(Beat(1, progresses=True, digest=1))[:-1],
        encode(Beat(1, progresses=True, digest=1)) + b"x",
        encode(BeatAnswer(1, 1)) + b"x",
        encode(Credit(1, 1)) + b"x",
        encode(Begin(1, Encoding.RAW, 1, 1, bytes(16), b"")).replace(b"\x04", b"\x04", 1)[:20],
        b"\x04\x00\x00\x00\x01\x09" + bytes(24),
    ],
)
def test_what_is_no_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode(payload)


@pytest.mark.parametrize("size", [16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1])
def test_a_short_text_is_deflated_with_less_memory_and_no_worse(size: int) -> None:
    half = random.Random(size).randbytes(size // 2)
    data = half + half[: size - len(half)]
    squeezed = deflate(data)
    assert inflate(squeezed, max_bytes=size) == data
    assert len(squeezed) < size * 0.6, "the second half is found in the first"


@given(st.binary(max_size=20_000))
def test_what_is_deflated_is_inflated_to_itself_and_is_always_the_same(data: bytes) -> None:
    squeezed = deflate(data)
    assert squeezed == deflate(data)
    assert inflate(squeezed, max_bytes=len(data)) == data


@given(st.binary(max_size=500), st.binary(max_size=20_000), st.binary(max_size=5))
def test_what_is_compressed_can_be_put_between_others(
    before: bytes, content: bytes, after: bytes
) -> None:
    joinable = deflate_joinable(content)
    assert inflate(joinable, max_bytes=len(content)) == content
    whole = before + content + after
    assert inflate(join(before, joinable, after), max_bytes=len(whole)) == whole


@given(st.binary(min_size=1, max_size=5_000), st.data())
def test_nothing_is_inflated_beyond_its_bound(data: bytes, draw: st.DataObject) -> None:
    bound = draw.draw(st.integers(0, len(data) - 1))
    with pytest.raises(MessageTooLargeError):
        inflate(deflate(data), max_bytes=bound)


def test_a_bomb_costs_no_more_memory_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, window: int) -> None:
            self._inflater = real(window)

        def decompress(self, data: bytes, most: int) -> bytes:
            asked.append(most)
            return self._inflater.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inflater, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(MessageTooLargeError):
        inflate(deflate(bytes(50_000_000)), max_bytes=1000)
    assert asked == [1001]


@given(st.binary(max_size=500))
def test_any_bytes_are_inflated_or_refused(data: bytes) -> None:
    try:
        assert len(inflate(data, max_bytes=10_000)) <= 10_000
    except WireError:
        return


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"x", lambda _: b"\xff\xff"])
def test_what_is_cut_off_or_goes_on_is_refused(change: Any) -> None:
    with pytest.raises(WireError):
        inflate(change(deflate(b"hello hello hello")), max_bytes=100)


def test_a_hash_tells_contents_apart() -> None:
    assert len(hash_of(b"a")) == 16
    assert hash_of(b"a") != hash_of(b"b")
