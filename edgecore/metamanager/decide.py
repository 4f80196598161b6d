"""What to do with what the cloud sends: keep it, acknowledge it, pass it on, or not. Pure.

The rules (promises P1 and P2):

- everything is acknowledged, or the cloud would send it for ever, but only after what it means is
  on the disk: whoever carries out a ``Plan`` commits its writes first;
- of one object (UID) no version follows a newer one, and nothing follows its deletion;
- of several objects that had one name, the one of the highest version is the living one: resource
  versions of one type are one sequence, so a name's later owner has higher versions throughout;
- one message is not bound by this: the answer to an inventory, marked by ``header.type``
  ``inventory``, because an API server restored from a backup counts from an earlier version.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from common.beehive.message import NULL, Message, new, raw
from common.errors import ResourceError, WireError
from common.inventory import content_hash
from common.names import GroupName, ModuleName, Operation, ResourceType
from common.resource import Resource, parse_resource
from common.wire import loads, loads_as
from edgecore.edgestore.records import MAX_VERSION, Entry, Index, StoredObject, Write
from edgecore.metamanager.draft import Draft
from edgecore.metamanager.needs import PodNeeds, pod_needs

FORWARDED: Final = frozenset(
    {
        ResourceType.POD,
        ResourceType.CONFIGMAP,
        ResourceType.SECRET,
        ResourceType.NODE,
        ResourceType.SERVICE,
    }
)
"""Types that edged is told about."""

_KEPT: Final = frozenset({Operation.INSERT, Operation.UPDATE})


class Outcome(StrEnum):
    """What became of a message; also the reason in a counter."""

    KEPT = "kept"
    DELETED = "deleted"
    STALE = "stale"
    INVALID = "invalid"
    UNSUPPORTED = "unsupported_operation"


class Plan(Struct, frozen=True):
    """What a batch of messages comes to: ``writes`` first, in one transaction, then the rest."""

    writes: tuple[Write, ...]
    forwards: tuple[Message, ...]
    """For edged, in the order in which it must see them."""
    outcomes: tuple[Outcome, ...]
    """One for each message."""
    pods: Mapping[str, PodNeeds | None]
    """Changes of what the stored pods need, by key; None for a pod that is no longer stored."""


class _Metadata(msgspec.Struct, frozen=True):
    uid: str = ""
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Object(msgspec.Struct, frozen=True):
    """As little of an object as has to be known of every type."""

    metadata: _Metadata


class _Arrival(Struct, frozen=True):
    """A message that was understood."""

    message: Message
    resource: Resource
    uid: str
    version: int
    value: bytes

    @property
    def key(self) -> str:
        return self.message.resource

    @property
    def is_inventory(self) -> bool:
        return self.message.header.type == ResourceType.INVENTORY


def decide(messages: Iterable[Message], index: Index, pods: Mapping[str, PodNeeds]) -> Plan:
    """Return what ``messages``, in the order in which they came, do to the edge-store.

    Args:
        messages: from the cloud, that answer nothing.
        index: what is stored.
        pods: what each stored pod needs, by key.
    """
    draft = Draft(index, pods)
    forwards: list[Message] = []
    outcomes: list[Outcome] = []
    for message in messages:
        outcome, told = _judge(message, draft)
        forwards += told
        outcomes.append(outcome)
    return Plan(draft.writes(), tuple(forwards), tuple(outcomes), dict(draft.changed_pods))


def decide_answer(
    message: Message, index: Index, pods: Mapping[str, PodNeeds]
) -> tuple[Outcome, tuple[Write, ...], Mapping[str, PodNeeds | None]]:
    """Return what the object in the answer to a query does to the edge-store.

    An answer may repeat the version that an object ended with: it had ended for this edge only,
    when the last pod that named it went.
    """
    draft = Draft(index, pods)
    try:
        arrival = _read(message)
    except (WireError, ResourceError):
        return Outcome.INVALID, (), {}
    entry = draft.entry(arrival.key)
    if entry is not None and (entry.uid, entry.version) == (arrival.uid, arrival.version):
        return Outcome.KEPT, (), {}
    if _is_past(arrival, draft, entry, answers=True):
        return Outcome.STALE, draft.writes(), {}
    _keep(arrival, draft, entry)
    return Outcome.KEPT, draft.writes(), dict(draft.changed_pods)


_NOTHING: Final[tuple[Message, ...]] = ()


def _judge(message: Message, draft: Draft) -> tuple[Outcome, tuple[Message, ...]]:
    if message.operation not in _KEPT and message.operation is not Operation.DELETE:
        return Outcome.UNSUPPORTED, _NOTHING
    try:
        arrival = _read(message)
        if message.operation is Operation.DELETE:
            return _delete(arrival, draft)
        entry = draft.entry(arrival.key)
        if _is_past(arrival, draft, entry):
            return Outcome.STALE, _NOTHING
        ended = _keep(arrival, draft, entry)
    except (WireError, ResourceError):
        return Outcome.INVALID, _NOTHING
    return Outcome.KEPT, (*ended, *_told(arrival.resource, message))


def _read(message: Message) -> _Arrival:
    """Return what ``message`` says.

    Raises:
        ResourceError: its resource is not ``namespace/type/name``.
        WireError: its content is not an object with metadata, or its version is no number.
    """
    resource = parse_resource(message.resource, edge_site=True)
    if not resource.name:
        raise ResourceError(f"no name in {message.resource[:128]!r}")
    value = message.data()
    is_bare = message.operation is Operation.DELETE and value == bytes(NULL)
    metadata = _Metadata() if is_bare else loads_as(value, _Object).metadata
    text = metadata.resource_version or message.header.resourceversion or "0"
    if not text.isdecimal() or not text.isascii() or int(text) > MAX_VERSION:
        raise WireError(f"not a resource version: {text[:32]!r}")
    return _Arrival(message, resource, metadata.uid, int(text), value)


def _is_past(
    arrival: _Arrival, draft: Draft, entry: Entry | None, *, answers: bool = False
) -> bool:
    """Whether something newer than ``arrival`` is known already; what that teaches is drafted."""
    if arrival.is_inventory:
        # Two contents of one version are two objects here: a restored etcd counts anew.
        return entry == Entry(arrival.uid, arrival.version, content_hash(arrival.value))
    if entry is not None and arrival.version <= entry.version:
        if entry.uid != arrival.uid:
            draft.bury(arrival.uid, arrival.key, arrival.version)  # it ended before that one began
        return True
    tombstone = draft.tombstone(arrival.uid)
    if tombstone is not None and tombstone.final:
        return True
    grave = draft.grave(arrival.key)
    return arrival.version < grave if answers else bool(grave) and arrival.version <= grave


def _keep(arrival: _Arrival, draft: Draft, entry: Entry | None) -> tuple[Message, ...]:
    """Draft that ``arrival`` is stored; return what ends the object that had its name."""
    resource = arrival.resource
    needs = None
    if resource.resource_type == ResourceType.POD:
        needs = pod_needs(loads(arrival.value), resource.namespace, arrival.uid)
    if arrival.is_inventory:
        draft.exhume(arrival.key)
    ended = _NOTHING
    if entry is not None and entry.uid != arrival.uid:
        # Below the new one's version, also where the cloud has begun to count anew.
        until = min(entry.version, arrival.version - 1)
        draft.bury(entry.uid, arrival.key, until, final=arrival.is_inventory)
        ended = _told(resource, _ending(arrival.key, entry))
    draft.put(
        StoredObject(
            arrival.key,
            resource.resource_type,
            resource.namespace,
            resource.name,
            arrival.uid,
            arrival.version,
            arrival.value,
        ),
        needs,
    )
    return ended


def _delete(arrival: _Arrival, draft: Draft) -> tuple[Outcome, tuple[Message, ...]]:
    entry = draft.entry(arrival.key)
    ended = entry if entry is not None and _is_ended_by(arrival, entry) else None
    if arrival.is_inventory and arrival.version:
        draft.bury(arrival.uid, arrival.key, arrival.version)
    elif not arrival.is_inventory:
        # Without a version nobody can tell how far back this UID's late messages may come from.
        draft.bury(arrival.uid, arrival.key, arrival.version, final=not arrival.version)
    if ended is None:
        return Outcome.STALE, _NOTHING
    if not arrival.is_inventory:
        is_final = ended.uid == arrival.uid or not arrival.uid
        until = max(ended.version, arrival.version)
        draft.bury(ended.uid, arrival.key, until, final=is_final and not arrival.version)
    draft.remove(arrival.key)
    is_announced = ended.uid == arrival.uid
    told = arrival.message if is_announced else _ending(arrival.key, ended)
    return Outcome.DELETED, _told(arrival.resource, told)


def _is_ended_by(arrival: _Arrival, entry: Entry) -> bool:
    """Whether this deletion is of what is stored, or of something that came after it."""
    if not arrival.uid:
        return not arrival.version or arrival.version >= entry.version or arrival.is_inventory
    return arrival.uid == entry.uid or arrival.version > entry.version


def _ending(key: str, entry: Entry) -> Message:
    """Return the deletion of a stored object that nobody announced."""
    namespace, _, name = key.split("/", 2)
    metadata = {"namespace": namespace, "name": name, "uid": entry.uid}
    return new(
        ModuleName.META_MANAGER,
        GroupName.RESOURCE,
        Operation.DELETE,
        key,
        raw({"metadata": metadata}),
        resource_version=str(entry.version),
    )


def _told(resource: Resource, message: Message) -> tuple[Message, ...]:
    return (message,) if resource.resource_type in FORWARDED else _NOTHING
