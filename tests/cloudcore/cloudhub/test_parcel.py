"""What is written of a message. Pure; compressing is faked twice: to lose, and to be counted."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub.parcel import ENVELOPE_BYTES, LARGE_FROM_BYTES, Bulks, Parcel
from common import frames, wire
from common.beehive.message import NULL, Message, new, raw
from common.capabilities import ALL, NONE, Capabilities, Capability
from common.delivery.outbox import LARGE
from common.frames import CHUNK_BYTES, Deflated, Encoding, deflate
from common.names import UID, Operation
from tests.cloudcore.cloudhub.bare import Bare

CHUNKS_ONLY = frozenset({Capability.CHUNKS})
DEFLATE_ONLY = frozenset({Capability.DEFLATE})
PLAIN = "a text like any other, which is well compressed. " * 400  # 20 KiB


def noise(size: int) -> str:
    return random.Random(7).randbytes(size // 2).hex()


def parcel(text: str, version: str = "7") -> Parcel:
    content = raw({"metadata": {"uid": "u1"}, "data": {"text": text}})
    resource = "shop/configmap/web"
    return Parcel(
        new("edgecontroller", "resource", Operation.UPDATE, resource, content,
            resource_version=version)
    )  # fmt: skip


def read(one: Parcel, capabilities: Capabilities) -> Message:
    """Return what a peer of these capabilities makes of it."""
    if not one.is_large(capabilities):
        payload = one.payload(capabilities)
        if payload.is_text:
            return wire.decode(payload.data)
        frame = frames.decode(payload.data)
        assert isinstance(frame, Deflated)
        return wire.decode(frames.inflate(frame.data, max_bytes=wire.MAX_MESSAGE_BYTES))
    bulk = one.bulk(capabilities)
    assert frames.hash_of(bulk.data) == bulk.hash
    content = bulk.data
    if bulk.encoding is Encoding.DEFLATE:
        content = frames.inflate(bulk.data, max_bytes=bulk.inflated_size)
    assert len(content) == bulk.inflated_size
    envelope = wire.decode(bulk.envelope)
    assert bytes(envelope.content) == b"null"
    return msgspec.structs.replace(envelope, content=msgspec.Raw(content))


def test_a_peer_without_capabilities_gets_text_of_any_size() -> None:
    for text in ("x", PLAIN, noise(100_000)):
        one = parcel(text)
        assert one.payload(NONE).is_text
        assert not one.is_large(NONE)
        assert one.measure(NONE) == len(wire.encode(one.message))


def test_the_mark_of_what_is_restated_is_all_that_is_added_and_is_made_once() -> None:
    one = parcel(PLAIN)
    marked = one.restated()
    assert (one.is_restated, marked.is_restated) == (False, True)
    assert read(marked, ALL).header.type == "inventory"
    assert (marked.msg_id, marked.version) == (one.msg_id, one.version)
    assert bytes(read(marked, ALL).content) == bytes(one.message.content)
    assert one.restated() is marked is marked.restated()


def test_what_is_small_is_text_for_everybody() -> None:
    one = parcel("x" * 300)
    assert len(wire.encode(one.message)) < frames.DEFLATED_FROM_BYTES
    assert one.payload(ALL) is one.payload(NONE)


def test_what_is_smaller_when_compressed_is_compressed() -> None:
    one = parcel(PLAIN)
    payload = one.payload(DEFLATE_ONLY)
    assert not payload.is_text
    assert len(payload.data) < 1000
    assert one.measure(ALL) == len(payload.data), "no chunks, for it is small when compressed"


def test_what_is_not_smaller_when_compressed_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    # Hardly any JSON is so; and of such a one the envelope would be smaller still.
    for name in ("deflate", "deflate_joinable"):
        monkeypatch.setattr(frames, name, lambda data: data + b"-")
    one = parcel(noise(4000))
    assert one.payload(DEFLATE_ONLY) is one.payload(NONE)
    large = parcel(noise(100_000))
    assert large.bulk(ALL).encoding is Encoding.RAW
    assert large.bulk(ALL).data == bytes(large.message.content)


def test_what_is_large_goes_in_chunks_its_content_by_itself() -> None:
    one = parcel(noise(100_000))
    assert one.measure(ALL) == LARGE
    bulk = one.bulk(ALL)
    assert bulk.encoding is Encoding.DEFLATE
    assert len(bulk.data) < bulk.inflated_size == len(bytes(one.message.content))
    assert len(bulk.envelope) < ENVELOPE_BYTES
    assert one.bulk(CHUNKS_ONLY).encoding is Encoding.RAW
    assert bytes(one.message.content) == one.bulk(CHUNKS_ONLY).data


def test_the_same_content_has_the_same_hash_in_any_message() -> None:
    first, second = parcel(noise(100_000)), parcel(noise(100_000))
    assert first.msg_id != second.msg_id
    assert first.bulk(ALL).hash == second.bulk(ALL).hash


@pytest.mark.parametrize("capabilities", [NONE, DEFLATE_ONLY, CHUNKS_ONLY, ALL])
def test_it_is_encoded_once_for_all_who_speak_alike(capabilities: Capabilities) -> None:
    one = parcel(noise(100_000))
    if one.is_large(capabilities):
        assert one.bulk(capabilities) is one.bulk(capabilities)
    else:
        assert one.payload(capabilities) is one.payload(capabilities)


@pytest.mark.parametrize(
    ("version", "number"), [("27810", 27810), ("", 0), ("-1", 0), ("abc", 0), ("1.5", 0)]
)
def test_its_version_is_a_number_and_none_is_nought(version: str, number: int) -> None:
    assert parcel("x", version).version == number


def test_it_says_what_an_outbox_has_to_know() -> None:
    one = parcel("x")
    assert one.msg_id == one.message.msg_id
    assert one.operation is Operation.UPDATE


def test_an_answer_without_content_is_small() -> None:
    one = Parcel(new("edgecontroller", "resource", Operation.RESPONSE, "a/b/c", NULL))
    assert 0 < one.measure(ALL) < ENVELOPE_BYTES


@given(
    size=st.one_of(
        st.integers(0, 3 * CHUNK_BYTES),
        st.integers(LARGE_FROM_BYTES - 100, LARGE_FROM_BYTES + 100),
        st.just(200_000),
    ),
    is_noise=st.booleans(),
    capabilities=st.frozensets(st.sampled_from(Capability)),
)
def test_whoever_reads_it_reads_the_message(
    size: int, capabilities: Capabilities, *, is_noise: bool
) -> None:
    one = parcel(noise(size) if is_noise else "x" * size)
    got = read(one, capabilities)
    assert (got.header, got.route) == (one.message.header, one.message.route)
    assert bytes(got.content) == bytes(one.message.content)
    if one.is_large(capabilities):
        assert Capability.CHUNKS in capabilities
        assert len(one.bulk(capabilities).data) > LARGE_FROM_BYTES
    elif Capability.CHUNKS in capabilities:
        assert one.measure(capabilities) <= LARGE_FROM_BYTES + ENVELOPE_BYTES


def test_what_turns_out_to_be_small_is_not_compressed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = parcel(PLAIN)
    assert not one.is_large(ALL)
    sizes = []

    def count(data: bytes) -> bytes:
        sizes.append(len(data))
        return deflate(data)

    monkeypatch.setattr(frames, "deflate", count)
    assert read(one, ALL) == one.message
    assert read(parcel(PLAIN), DEFLATE_ONLY).content == one.message.content
    assert sum(sizes) < 10
    assert not one.payload(ALL).is_text


def test_a_content_of_many_messages_is_compressed_and_kept_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compressed = []
    really = frames.deflate_joinable

    def deflate(data: bytes) -> bytes:
        compressed.append(data)
        return really(data)

    monkeypatch.setattr(frames, "deflate_joinable", deflate)
    bulks = Bulks()
    parcels = [Parcel(parcel(noise(60_000)).message, bulks) for _ in range(9)]
    assert len({one.msg_id for one in parcels}) == 9
    assert all(one.is_large(ALL) for one in parcels)
    assert len(compressed) == 1
    assert len({id(one.bulk(ALL).data) for one in parcels}) == 1
    for one in parcels:
        assert read(one, ALL).header == one.message.header
        assert bytes(read(one, ALL).content) == bytes(one.message.content)
    assert parcels[0].bulk(CHUNKS_ONLY).encoding is Encoding.RAW, "for who cannot inflate it"
    parcels.clear()
    del one
    assert len(bulks._made) == 0, "nobody has it any more"


def test_what_is_written_for_many_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compressed = []
    really = frames.deflate

    def deflate(data: bytes) -> bytes:
        compressed.append(data)
        return really(data)

    monkeypatch.setattr(frames, "deflate", deflate)
    content = raw({"data": "x" * 5000})
    parcel = Parcel(new("edgecontroller", "resource", Operation.UPDATE, "a/b/c", content))
    for _ in range(20):
        bare = Bare()
        bare.session.offer(UID("u1"), parcel)
        assert [type(heard) for heard in bare.hear()] == [Deflated]
    assert len(compressed) == 1
