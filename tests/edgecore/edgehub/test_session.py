"""One connection: a real bus, a made-up link; MetaManager, the hub and the cloud are the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import combinations

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, reply
from common.capabilities import Capabilities, Capability
from common.clock import Clock
from common.errors import LinkError
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
    hash_of,
)
from common.names import PROGRESS_RESOURCE, GroupName, ModuleName, Operation
from common.wire import encode, loads
from edgecore.edgehub import hubconfig
from edgecore.edgehub.hubconfig import HubConfig
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.session import Session, Surroundings
from edgecore.edgehub.transfers import Transfers
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import down, until
from tests.edgecore.edgehub.links import MadeUpLink

META = ModuleName.META_MANAGER
CONFIGMAP = "default/configmap/web"


@dataclass
class Connected:
    """A session that runs, and what is around it."""

    session: Session
    link: MadeUpLink
    context: MessageContext
    clock: Clock
    registry: CollectorRegistry
    lost: list[LinkError]

    def total(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    async def asked(self) -> Message:
        """Return the hub's next question whether the modules do their work."""
        message = await self.context.receive(META)
        assert (message.operation, message.resource) == (Operation.KEEPALIVE, PROGRESS_RESOURCE)
        return message

    def sign(self, asked: Message, digest: str | None = None) -> None:
        content = raw({"asked": asked.msg_id, "digest": digest})
        self.session.sign(new(META, "hub", Operation.KEEPALIVE, PROGRESS_RESOURCE, content))

    async def beat(self) -> Beat:
        item = await self.link.heard()
        assert isinstance(item, Beat)
        return item


@asynccontextmanager
async def connected(
    link: MadeUpLink,
    *,
    transfers: Transfers | None = None,
    heartbeat_s: float = 60.0,
    answer_s: float = 30.0,
    phase: Callable[[], float] = lambda: 0.999,
) -> AsyncIterator[Connected]:
    context, registry, clock = MessageContext(), CollectorRegistry(), Clock()
    context.add_module(META, GroupName.META)
    surroundings = Surroundings(
        context,
        HubConfig("n1", "cloud", 10000, heartbeat_s=heartbeat_s, answer_s=answer_s),
        clock,
        EdgeMetrics(registry),
        transfers or Transfers(),
        phase,
    )
    session = Session(link, surroundings)
    lost: list[LinkError] = []

    async def run() -> None:
        try:
            await session.run()
        except* LinkError as errors:
            lost.extend(error for error in errors.exceptions if isinstance(error, LinkError))

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(run())
        yield Connected(session, link, context, clock, registry, lost)
        running.cancel()


def without(*missing: Capability) -> Capabilities:
    return capabilities.ALL - frozenset(missing)


NO_BEATS = without(Capability.BEATS)


# --- beats ---


async def test_a_beat_says_that_the_modules_do_their_work() -> None:
    async with connected(MadeUpLink()) as one:
        asked = await one.asked()
        assert loads(asked.content) == {"digest": False}
        one.sign(asked)
        assert await one.beat() == Beat(1, progresses=True)
    assert one.total("edgecore_beats_without_progress_total") == 0


async def test_a_beat_says_so_where_the_modules_do_not_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected(MadeUpLink(), heartbeat_s=0.02) as one:
        late = await one.asked()
        assert await one.beat() == Beat(1, progresses=False)
        one.sign(late)  # nobody waits for it any more
        one.link.says(BeatAnswer(1, 0))
        assert await one.beat() == Beat(2, progresses=False)
        assert one.total("edgecore_beats_without_progress_total") >= 2
    assert caplog.text.count("no lease is renewed") == 1


async def test_modules_that_have_stopped_do_not_end_the_link() -> None:
    async with connected(MadeUpLink()) as one:
        one.context.close(META)
        assert await one.beat() == Beat(1, progresses=False)
        assert one.lost == []


async def test_a_mailbox_that_is_full_does_not_hold_up_the_beat() -> None:
    async with connected(MadeUpLink(), heartbeat_s=0.1) as one:
        await one.asked()
        for _ in range(1024):
            await one.context.send(META, down(Operation.UPDATE, CONFIGMAP, {}))
        assert await one.beat() == Beat(1, progresses=False)
        assert await one.beat() == Beat(2, progresses=False)


@pytest.fixture
def _signs_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where beats are frequent, a sign would have little time on a busy machine."""
    monkeypatch.setattr(hubconfig, "_SIGN_SHARE", 100.0)


@pytest.mark.usefixtures("_signs_may_take_long")
async def test_the_digest_goes_out_where_the_cloud_wants_it_and_in_order() -> None:
    async with connected(MadeUpLink(), phase=lambda: 0.0, heartbeat_s=1.0) as one:
        one.sign(await one.asked())
        assert await one.beat() == Beat(1, progresses=True)
        one.link.says(BeatAnswer(1, 0, wants_digest=True))
        # The second one is due at once too, and may have been asked for before the answer came.
        while not loads((asked := await one.asked()).content)["digest"]:
            one.sign(asked)
            await one.beat()
        before, after = acknowledgement(), acknowledgement()
        one.link.may_write.clear()
        one.session.offer(before)
        one.sign(asked, "00000000000000ff")
        one.session.offer(after)
        one.link.may_write.set()
        said = [await one.link.heard() for _ in range(3)]
    assert [item.msg_id for item in said if isinstance(item, Message)] == [
        before.msg_id,
        after.msg_id,
    ]
    assert isinstance(said[1], Beat)
    assert said[1].digest == 255


@pytest.mark.usefixtures("_signs_may_take_long")
async def test_no_digest_goes_to_a_cloud_that_does_not_know_it() -> None:
    link = MadeUpLink(without(Capability.DIGEST))
    async with connected(link, phase=lambda: 0.0, heartbeat_s=1.0) as one:
        for number in (1, 2, 3):
            asked = await one.asked()
            assert loads(asked.content) == {"digest": False}
            one.sign(asked)
            assert await one.beat() == Beat(number, progresses=True)
            link.says(BeatAnswer(number, 0, wants_digest=True))
            await answered(one, number)


async def answered(one: Connected, number: int) -> None:
    """Wait until so many answers have been taken in."""
    name, labels = "edgecore_messages_received_total", {"operation": "beatanswer"}
    await until(lambda: one.total(name, **labels) == number)


async def test_the_clouds_clock_is_learned_from_the_answer() -> None:
    async with connected(MadeUpLink()) as one:
        one.sign(await one.asked())
        await one.beat()
        one.link.says(BeatAnswer(1, one.clock.now_ms() + 86_400_000))
        await until(lambda: one.clock.offset_s > 0)
        assert 86_390 < one.clock.offset_s < 86_410


async def test_a_cloud_that_does_not_answer_is_silent() -> None:
    link = MadeUpLink()
    link.silent_s = 100.0
    async with connected(link, answer_s=0.02) as one:
        await until(lambda: bool(one.lost))
    [lost] = one.lost
    assert isinstance(lost, LinkLostError)
    assert lost.reason == "silent"


async def test_a_cloud_whose_answer_is_late_and_whose_bytes_come_is_not() -> None:
    link = MadeUpLink()
    async with connected(link, heartbeat_s=0.01, answer_s=0.005) as one:
        for _ in range(10):
            await one.beat()
        assert one.lost == []
        link.silent_s = 100.0
        await until(lambda: bool(one.lost))


async def test_beats_replace_keepalives_where_both_sides_have_them() -> None:
    async with connected(MadeUpLink(NO_BEATS), heartbeat_s=0.01) as one:
        for _ in range(3):
            keepalive = await one.link.heard()
            assert isinstance(keepalive, Message)
            assert loads(keepalive.content) == "ping"
    assert one.total("edgecore_messages_sent_total", operation="keepalive") >= 3


# --- messages and frames ---


def acknowledgement() -> Message:
    return reply(down(Operation.UPDATE, CONFIGMAP, {}))


async def received(one: Connected) -> Message:
    """Return what MetaManager gets next of the cloud's."""
    while (message := await one.context.receive(META)).operation is Operation.KEEPALIVE:
        pass
    return message


async def test_a_compressed_message_is_a_message() -> None:
    sent = down(Operation.UPDATE, CONFIGMAP, {"data": {"a": "b" * 5000}}, version="7")
    async with connected(MadeUpLink()) as one:
        one.link.says(Deflated(deflate(encode(sent))))
        assert await received(one) == sent


def chunked(message: Message, number: int) -> tuple[Begin, list[Chunk]]:
    content = bytes(message.content)
    envelope = encode(msgspec.structs.replace(message, content=msgspec.Raw(b"null")))
    begin = Begin(number, Encoding.RAW, len(content), len(content), hash_of(content), envelope)
    parts = [Chunk(number, at, content[at : at + 4096]) for at in range(0, len(content), 4096)]
    return begin, parts


async def said(one: Connected) -> Frame:
    """Return what the edge says next that is no keepalive."""
    while isinstance(item := await one.link.heard(), Message):
        pass
    return item


async def test_a_large_content_comes_in_chunks_and_goes_on_after_a_cut() -> None:
    sent = down(Operation.UPDATE, CONFIGMAP, {"data": {"a": "b" * 20_000}}, version="7")
    transfers = Transfers()
    async with connected(MadeUpLink(NO_BEATS), transfers=transfers) as one:
        begin, chunks = chunked(sent, 1)
        one.link.says(begin)
        assert await said(one) == Credit(1, 0)
        one.link.says(chunks[0])
        assert await said(one) == Credit(1, 4096)
        one.link.cut()
        await until(lambda: bool(one.lost))
    async with connected(MadeUpLink(NO_BEATS), transfers=transfers) as one:
        begin, chunks = chunked(sent, 5)
        one.link.says(begin)
        assert await said(one) == Credit(5, 4096)
        small = down(Operation.UPDATE, "default/pod/web", {})
        one.link.says(small)
        for chunk in chunks[1:]:
            one.link.says(chunk)
        assert (await received(one)).msg_id == small.msg_id
        assert await received(one) == sent
        while await said(one) != Credit(5, begin.size):
            pass
        assert one.total("edgecore_transfers_total", event="resumed") == 1
        assert one.total("edgecore_transfers_total", event="completed") == 1


async def test_a_large_content_with_an_unknown_verb_is_credited_and_left_aside() -> None:
    sent = down(Operation.UPDATE, CONFIGMAP, {"a": "b" * 100})
    begin, chunks = chunked(sent, 1)
    strange = begin.envelope.replace(b'"update"', b'"createvolume"')
    async with connected(MadeUpLink(NO_BEATS)) as one:
        one.link.says(Begin(1, begin.encoding, begin.size, begin.size, begin.hash, strange))
        one.link.says(chunks[0])
        one.link.says(down(Operation.UPDATE, "default/pod/web", {}))
        assert (await received(one)).resource == "default/pod/web"
        while await said(one) != Credit(1, begin.size):
            pass
        assert one.total("edgecore_refusals_total", reason="unknown_operation") == 1


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x05\x00", "{"])
async def test_what_is_neither_message_nor_frame_ends_the_connection(payload: str | bytes) -> None:
    async with connected(MadeUpLink()) as one:
        one.link.says(payload)
        await until(lambda: bool(one.lost))
        assert one.link.closed == (1007, "not a message")
    assert one.total("edgecore_refusals_total", reason="malformed") == 1


async def test_a_binary_frame_of_a_cloud_without_capabilities_ends_the_connection() -> None:
    async with connected(MadeUpLink(capabilities.NONE)) as one:
        one.link.says(BeatAnswer(1, 0))
        await until(lambda: bool(one.lost))
        assert one.link.closed == (1007, "not a message")


async def test_a_message_that_had_come_and_was_not_handed_on_when_the_link_broke_is_counted() -> (
    None
):
    async with connected(MadeUpLink(NO_BEATS)) as one:
        for _ in range(1024 + 1):
            one.link.says(down(Operation.UPDATE, CONFIGMAP, {}))
        name, labels = "edgecore_messages_received_total", {"operation": "update"}
        await until(lambda: one.total(name, **labels) == 1024 + 1)
    assert one.total("edgecore_messages_dropped_total", reason="link_lost") == 1


async def test_draining_returns_when_all_is_written_and_when_the_link_is_gone() -> None:
    async with connected(MadeUpLink(NO_BEATS)) as one:
        one.link.may_write.clear()
        one.session.offer(acknowledgement())
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(one.session.drain())
            await asyncio.sleep(0)
            assert not draining.done()
            one.link.may_write.set()
        one.link.may_write.clear()
        one.session.offer(acknowledgement())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one.session.drain())
            await asyncio.sleep(0)
            one.session.end()


# --- clouds of other versions: each set of capabilities that two sides can agree on ---

SUBSETS = [
    frozenset(words)
    for number in range(len(Capability) + 1)
    for words in combinations(Capability, number)
]
every_subset = pytest.mark.parametrize(
    "agreed", SUBSETS, ids=lambda agreed: "+".join(sorted(agreed)) or "none"
)


@every_subset
async def test_the_edge_says_that_it_lives_in_the_way_that_both_sides_know(
    agreed: Capabilities,
) -> None:
    async with connected(MadeUpLink(agreed)) as one:
        if Capability.BEATS in agreed:
            one.sign(await one.asked())
            assert await one.beat() == Beat(1, progresses=True)
        else:
            item = await one.link.heard()
            assert isinstance(item, Message)
            assert (item.operation, item.resource) == (Operation.KEEPALIVE, "node")


@every_subset
async def test_large_contents_are_understood_in_the_ways_that_were_agreed_on_and_no_other(
    agreed: Capabilities,
) -> None:
    sent = down(Operation.UPDATE, CONFIGMAP, {"a": "b" * 100})
    begin, _ = chunked(sent, 1)
    ways: dict[Capability, Frame] = {
        Capability.DEFLATE: Deflated(deflate(encode(sent))),
        Capability.CHUNKS: begin,
        Capability.BEATS: BeatAnswer(1, 0),
    }
    for capability, frame in ways.items():
        async with connected(MadeUpLink(agreed)) as one:
            one.link.says(frame)
            if capability not in agreed:
                await until(lambda: bool(one.lost))
                assert one.link.closed == (1007, "not a message")
                continue
            one.link.says(sent)  # in plain text, which is understood in any case
            assert (await received(one)).resource == CONFIGMAP
            assert not one.lost
