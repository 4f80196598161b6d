"""A session on a connection that is none, with a clock that is moved by hand.

What it writes is decoded as an edge would do it; what it says to the controller is taken from it.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from cloudcore.cloudhub.flusher import Flushable, Flusher
from cloudcore.cloudhub.inbox import Inbox
from cloudcore.cloudhub.parcel import Parcel
from cloudcore.cloudhub.session import Session, SessionServices
from cloudcore.edgecontroller.location import LocationCache
from cloudcore.metrics import CloudMetrics
from common import frames, wire
from common.beehive.message import NULL, Message, new, raw, reply
from common.capabilities import ALL, NONE, Capabilities
from common.frames import Begin, Chunk, Credit, Frame
from common.names import UID, NodeID, Operation, PeerProtocol

NODE = NodeID("n1")
OWN = f"kube-node-lease/lease/{NODE}"
MIB = 1024 * 1024
NOISE = random.Random(7).randbytes(32 * 1024).hex()
"""Goes in chunks: hex digits are half as long when compressed."""


class ManualFlusher(Flusher):
    """Flushes when it is told to."""

    def __init__(self) -> None:
        self.wanted: dict[Flushable, None] = {}

    def want(self, one: Flushable) -> None:
        self.wanted[one] = None

    def run(self) -> None:
        while self.wanted:
            wanted, self.wanted = self.wanted, {}
            for one in wanted:
                one.flush()


@dataclass
class BareWire:
    """What a session takes for a connection."""

    capabilities: Capabilities = ALL
    peer_protocol: PeerProtocol = PeerProtocol.CLOUDEDGE_V1
    node: NodeID = NODE
    serial: int = 1
    last_received_s: float = 0.0
    is_writable: bool = True
    unsent: int = 0
    takes: int | None = None
    """Bytes that it takes before it is writable no more; None for any number."""

    prepared: list[tuple[bytes, bool]] = field(default_factory=list)
    written: list[tuple[bytes, bool]] = field(default_factory=list)
    flushes: int = 0
    closed: tuple[int, str] | None = None
    is_aborted: bool = False
    is_paused: bool = False
    session: Session | None = None
    backlog: list[bytes] = field(default_factory=list)
    """Text that has come and is not delivered while reading is paused."""

    def send(self, payload: bytes, *, is_text: bool) -> None:
        assert self.closed is None, "nothing may follow a close frame"
        self.prepared.append((payload, is_text))

    def flush(self) -> None:
        self.flushes += 1
        self.written += self.prepared
        if self.takes is not None:
            self.takes -= sum(len(payload) for payload, _ in self.prepared)
            self.is_writable = self.takes > 0
        self.prepared.clear()

    def close(self, code: int, reason: str) -> None:
        self.flush()
        assert self.closed is None, "closed twice"
        self.closed = code, reason

    def abort(self) -> None:
        self.is_aborted = True

    def unsent_bytes(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        """Deliver at once, as the real one does."""
        self.is_paused = False
        while self.backlog and not self.is_paused:
            assert self.session is not None
            self.session.received(self.backlog.pop(0), is_text=True)


class Bare:
    """A session, what is around it, and an edge to speak for."""

    def __init__(self, wire: BareWire | None = None) -> None:
        self.wire = wire or BareWire()
        self.now_s = 0.0
        self.shown = CollectorRegistry()
        self.flusher = ManualFlusher()
        self.ended = 0
        self.metrics = CloudMetrics(self.shown)
        services = SessionServices(
            LocationCache(), self.metrics, Inbox(), self.flusher, lambda: self.now_s
        )
        self.session = Session(self.wire, services, self._count_end)
        self.wire.session = self.session
        self.has = b""  # of a content that comes in chunks

    def _count_end(self, session: Session) -> None:
        assert session is self.session
        self.ended += 1

    # --- the hub ---------------------------------------------------------------------------------

    def offer(
        self, name: str = "web", version: int = 1, text: str = "", *, gone: bool = False
    ) -> Message:
        operation = Operation.DELETE if gone else Operation.UPDATE
        content = raw({"metadata": {"uid": f"uid-{name}"}, "data": {"text": text}})
        message = new(
            "edgecontroller",
            "resource",
            operation,
            f"shop/configmap/{name}",
            content,
            resource_version=str(version),
        )
        self.session.offer(UID(f"uid-{name}"), Parcel(message))
        return message

    def answer(self, request: Message, text: str = "") -> bool:
        """Answer what the controller was told."""
        return self.session.answer(Parcel(reply(request, raw(text))))

    def told(self) -> list[Message]:
        """Return what the controller has not been told yet."""
        messages = []
        while (message := self.session._telling.take_request()) is not None:
            messages.append(message)
        return messages

    def wait(self, seconds: float) -> None:
        """Let time pass, and tend the session once."""
        self.now_s += seconds
        self.session.tend(self.now_s)

    # --- the edge --------------------------------------------------------------------------------

    def say(self, said: Message | Frame) -> None:
        if isinstance(said, Message):
            self.session.received(wire.encode(said), is_text=True)
        else:
            self.session.received(frames.encode(said), is_text=False)

    def ask(self, content: str = "") -> Message:
        request = new("edged", "meta", Operation.QUERY, OWN, raw(content) if content else NULL)
        self.say(request)
        return request

    def acknowledge(self, messages: Iterable[Message | str]) -> None:
        """Acknowledge them in one message."""
        ids = [one if isinstance(one, str) else one.msg_id for one in messages]
        content = raw({"acked": ids})
        self.say(new("metamanager", "resource", Operation.RESPONSE, "", content))

    def hear(self) -> list[Message | Frame]:
        """Return what the edge gets, once everything is written that can be."""
        self.flusher.run()
        written, self.wire.written = self.wire.written, []
        return [_read(payload, is_text=is_text) for payload, is_text in written]

    def hear_messages(self) -> list[Message]:
        """Return the same, which must be messages, compressed or not."""
        return [as_message(heard) for heard in self.hear()]

    def begun(self) -> Begin:
        """Return the announcement, which must be all that comes."""
        (begin,) = self.hear()
        assert isinstance(begin, Begin)
        self.has = b""
        return begin

    def take_in(self, heard: Iterable[Message | Frame], begin: Begin) -> list[Message]:
        """Credit each chunk among what was heard; return the rest."""
        rest = []
        for one in heard:
            if isinstance(one, Chunk):
                assert (one.transfer, one.offset) == (begin.transfer, len(self.has))
                self.has += one.data
                self.say(Credit(begin.transfer, len(self.has)))
            else:
                rest.append(as_message(one))
        return rest

    def finish(self, begin: Begin, *, has: bytes = b"") -> tuple[Message, list[Message]]:
        """Take a content that was announced; return its message, and what came in between."""
        self.has = has
        self.say(Credit(begin.transfer, len(has)))
        between: list[Message] = []
        while len(self.has) < begin.size:
            heard = self.hear()
            assert heard, "it goes on"
            between += self.take_in(heard, begin)
        assert frames.hash_of(self.has) == begin.hash
        content = self.has
        if begin.encoding is frames.Encoding.DEFLATE:
            content = frames.inflate(content, max_bytes=begin.inflated_size)
        envelope = wire.encode(wire.decode(begin.envelope))
        assert envelope.endswith(b'"content":null}')
        whole = envelope.removesuffix(b"null}") + content + b"}"
        return wire.decode(whole), between

    # --- what is counted -------------------------------------------------------------------------

    def counted(self, name: str, **labels: str) -> float:
        return self.shown.get_sample_value(f"cloudcore_{name}_total", labels) or 0.0

    def refused(self, reason: str) -> float:
        return self.counted("refusals", reason=reason)

    def dropped(self, reason: str) -> float:
        return self.counted("messages_dropped", reason=reason)

    def assert_nothing_is_lost(self) -> None:
        """Promise P8: offered = acknowledged + superseded + dropped + held."""
        # Asked all the time by some tests, and so not by way of the page that shows them.
        metrics, held = self.metrics, 0 if self.ended else self.session.backlog
        assert metrics.offered.value == (
            metrics.acknowledged.value
            + metrics.superseded.value
            + metrics.dropped.value_of("disconnected")
            + held
        )


def kubeedge() -> Bare:
    """The session of an edge of KubeEdge's."""
    return Bare(BareWire(NONE, PeerProtocol.KUBEEDGE))


def said(message: Message) -> dict[str, object]:
    """Return what the controller is told by it."""
    return wire.loads_as(message.content, dict[str, object])


def as_message(heard: Message | Frame) -> Message:
    if isinstance(heard, frames.Deflated):
        return wire.decode(frames.inflate(heard.data, max_bytes=wire.MAX_MESSAGE_BYTES))
    assert isinstance(heard, Message)
    return heard


def _read(payload: bytes, *, is_text: bool) -> Message | Frame:
    return wire.decode(payload) if is_text else frames.decode(payload)
