"""What must never happen: the promises as a model that watches everything and believes nobody.

It is told of each change at the API server, each message between the daemons, each commit on a
disk and each end of a container, and knows nothing of how the daemons work.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from common import frames, wire
from common.beehive.message import Message
from common.errors import WireError
from common.names import UID, NodeID, Operation, ResourceType
from edgecore.edgestore.records import Put, Write
from tests.simulation import apiserver
from tests.simulation.network import Frame

_OBJECTS: Final = frozenset({Operation.INSERT, Operation.UPDATE, Operation.DELETE})
_MIXABLE: Final = _OBJECTS | {Operation.RESPONSE, Operation.KEEPALIVE}
_NEEDED: Final = frozenset({"configmap", "secret"})


class Told(NamedTuple):
    """A message about an object, as it was sent to an edge."""

    operation: Operation
    key: str
    version: int
    is_restated: bool
    number: int
    """In the order of all that was sent."""


class Row(NamedTuple):
    """What stands in an edge-store."""

    uid: str
    version: int


@dataclass
class _EdgeModel:
    file: Callable[[], Path]
    told: dict[str, Told] = field(default_factory=dict)
    """By msg_id."""
    newest: dict[str, str] = field(default_factory=dict)
    """The msg_id that arrived last, by key."""
    versions: dict[str, int] = field(default_factory=dict)
    """The version that was stored last, by UID."""
    answered: dict[tuple[str, int], int] = field(default_factory=dict)
    """Number of the answer to a query, by key and version."""
    reader: sqlite3.Connection | None = None
    read_file: Path | None = None


class Model:
    """See the module's docstring. ``violations`` has what went wrong, first things first."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.acknowledged = self.checked_strictly = self.commits = 0
        self.epoch = 0
        """How often the API server was restored from a backup."""
        self.tell: Callable[[str], None] | None = None
        """Wants to hear of each message, to be read by people."""
        self._epochs: dict[tuple[str, str], int] = {}  # UID and version -> the last with that state
        self._nodes: dict[str, str] = {}  # of pods, by UID
        self._may_end: set[str] = set()
        self._edges: dict[NodeID, _EdgeModel] = {}
        self._sent = 0

    def add_edge(self, node: NodeID, file: Callable[[], Path]) -> None:
        """Watch an edge; ``file`` returns its edge-store."""
        self._edges[node] = _EdgeModel(file)

    def violated(self, promise: str, text: str) -> None:
        """Note a broken promise."""
        self.violations.append(f"{promise}: {text}")

    # --- at the API server ---------------------------------------------------------------------

    def written(self, write: apiserver.Write) -> None:
        """Take note of a change at the API server."""
        now, before = write.now, write.before
        if self.tell is not None and write.key.plural != "leases":
            metadata = (now or before or {})["metadata"]
            version, uid = metadata["resourceVersion"], metadata["uid"]
            self.tell(f"API: {write.type} {'/'.join(write.key)} v{version} {uid}")
        if now is not None:
            metadata = now["metadata"]
            self._epochs[metadata["uid"], metadata["resourceVersion"]] = self.epoch
        if write.key.plural != "pods":
            return
        for pod in (now, before):
            if pod is not None:
                self._note_pod(pod)
        if before is not None and (
            write.type == "DELETED"
            or now is None
            or now["metadata"]["uid"] != before["metadata"]["uid"]
            or _containers(now) != _containers(before)
            or now["spec"].get("nodeName") != before["spec"].get("nodeName")
        ):
            self._may_end.add(before["metadata"]["uid"])

    def restored(self, api: apiserver.ApiServer) -> None:
        """Take note that everything is as it was once."""
        self.epoch += 1
        for obj in api.objects.values():
            metadata = obj["metadata"]
            self._epochs[metadata["uid"], metadata["resourceVersion"]] = self.epoch

    def _note_pod(self, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        if node := pod["spec"].get("nodeName"):
            self._nodes[metadata["uid"]] = node
        if "deletionTimestamp" in metadata:
            self._may_end.add(metadata["uid"])

    # --- at the edges --------------------------------------------------------------------------

    def ended(self, node: NodeID, uid: UID, why: str) -> None:
        """P5: nothing ends but what was changed or deleted."""
        if uid not in self._may_end:
            self.violated("P5", f"pod {uid} was ended on {node}, which nobody wanted: {why}")

    def committed(self, node: NodeID, writes: Sequence[Write]) -> None:
        """P2: of one UID no older version follows a newer one. P4: pods are the node's own."""
        self.commits += 1
        edge = self._edges[node]
        for write in writes:
            if not isinstance(write, Put):
                continue
            stored = write.stored
            before = edge.versions.get(stored.uid, 0)
            if (
                stored.version < before
                and not self._is_later_state(stored.uid, stored.version)
                and not _is_overtaken(edge, stored.key, stored.version, before)
            ):
                self.violated(
                    "P2", f"{stored.key} ({stored.uid}) on {node}: {stored.version} after {before}"
                )
            edge.versions[stored.uid] = stored.version
            if stored.resource_type == ResourceType.POD:
                owner = self._nodes.get(stored.uid)
                if owner != node:
                    self.violated("P4", f"pod {stored.key} of {owner} is stored on {node}")

    def _is_later_state(self, uid: str, version: int) -> bool:
        """Whether a lower version is what a restored API server has had."""
        return self._epochs.get((uid, str(version)), 0) > 0

    # --- on the link -----------------------------------------------------------------------------

    def sent_down(self, node: NodeID, frame: Frame) -> None:
        """Take note of what an edge is told."""
        message = _message(frame)
        self._tell(f"to {node}", message)
        if message is None:
            return
        self._sent += 1
        text, edge = message.header.resourceversion, self._edges[node]
        version = int(text) if text else 0
        if message.parent_id:
            edge.answered[message.resource, version] = self._sent
        elif message.operation in _OBJECTS:
            is_restated = message.header.type == ResourceType.INVENTORY
            edge.told[message.msg_id] = Told(
                message.operation, message.resource, version, is_restated, self._sent
            )

    def arrived_down(self, node: NodeID, frame: Frame) -> None:
        """Take note of what an edge has heard."""
        message = _message(frame)
        self._tell(f"at {node}", message)
        if message is not None and message.msg_id in self._edges[node].told:
            self._edges[node].newest[message.resource] = message.msg_id

    def sent_up(self, node: NodeID, frame: Frame) -> None:
        """P1: what an edge acknowledges is in its file already."""
        message = _message(frame)
        self._tell(f"from {node}", message)
        if message is None or message.operation is not Operation.RESPONSE:
            return
        for msg_id in _acknowledged(message):
            told = self._edges[node].told.get(msg_id)
            if told is not None:
                self.acknowledged += 1
                self._check_stored(node, msg_id, told)

    def may_be_mixed(self, frame: Frame) -> bool:
        """Whether it makes sense that a message comes twice, or late.

        What restates an object is no history, and its order is that of the inventory's answer.
        """
        message = _message(frame)
        return (
            message is not None
            and frame.payload[:1] != bytes([frames.FrameType.BEGIN])
            and message.operation in _MIXABLE
            and message.header.type != ResourceType.INVENTORY
        )

    def _tell(self, where: str, message: Message | None) -> None:
        if self.tell is not None and message is not None:
            text = bytes(message.content)[:90].decode(errors="replace")
            ids = f"{message.msg_id[:8]}<{message.parent_id[:8]}>"
            version = message.header.resourceversion
            self.tell(f"{where}: {ids} {message.operation} {message.resource} v{version} {text}")

    def _check_stored(self, node: NodeID, msg_id: str, told: Told) -> None:
        edge = self._edges[node]
        if edge.newest.get(told.key) != msg_id:
            return  # what came later may have changed it again, and is checked for itself
        self.checked_strictly += 1
        row = self._row(edge, told.key)
        if told.operation is Operation.DELETE:
            if row is not None and told.version and row.version < told.version and not self.epoch:
                self.violated("P1", f"{told} is acknowledged by {node}, which still has {row}")
        elif row is None:
            if told.key.split("/")[1] not in _NEEDED and not self._is_buried(edge, told):
                self.violated("P1", f"{told} is acknowledged by {node}, which has nothing")
        elif row.version < told.version and not self.epoch:
            self.violated("P1", f"{told} is acknowledged by {node}, which has {row}")

    def _row(self, edge: _EdgeModel, key: str) -> Row | None:
        query = "SELECT uid, resource_version FROM objects WHERE key = ?"
        found = self._reader(edge).execute(query, (key,)).fetchone()
        return Row(*found) if found else None

    def _is_buried(self, edge: _EdgeModel, told: Told) -> bool:
        query = "SELECT count(*) FROM tombstones WHERE key = ? AND (final OR resource_version >= ?)"
        (count,) = self._reader(edge).execute(query, (told.key, told.version)).fetchone()
        return bool(count)

    def _reader(self, edge: _EdgeModel) -> sqlite3.Connection:
        """Return a connection of our own to the file that the edge has now."""
        file = edge.file()
        if edge.reader is None or edge.read_file != file:
            edge.reader = sqlite3.Connection(f"file:{file}?mode=ro", uri=True, isolation_level=None)
            edge.read_file = file
        return edge.reader


def _is_overtaken(edge: _EdgeModel, key: str, version: int, before: int) -> bool:
    """Whether a restated object was on its way before the newer answer to a query was sent.

    Answers pass by objects, and what is restated is taken whatever its version; what follows it on
    the same way is newer again.
    """
    answer = edge.answered.get((key, before))
    return answer is not None and any(
        told.is_restated and (told.key, told.version) == (key, version) and told.number < answer
        for told in edge.told.values()
    )


def _containers(pod: Mapping[str, Any]) -> Any:
    return pod["spec"].get("containers")


class _Acked(msgspec.Struct):
    acked: list[str]


def _acknowledged(message: Message) -> Sequence[str]:
    if message.parent_id:
        return (message.parent_id,)
    try:
        return wire.loads_as(message.content, _Acked).acked
    except WireError:
        return ()


def _message(frame: Frame) -> Message | None:
    """Return the message in a frame, without its content where that comes in parts."""
    try:
        if frame.is_text:
            return wire.decode(frame.payload)
        match frames.decode(frame.payload):
            case frames.Deflated(data):
                return wire.decode(frames.inflate(data, max_bytes=wire.MAX_MESSAGE_BYTES))
            case frames.Begin(envelope=envelope):
                return wire.decode(envelope)
    except WireError:
        return None
    return None
