"""Of which pods something changed, judged by two lists and by what an engine announces. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError
from msgspec import Struct, field

from common.names import UID
from edgecore.edged.runtime.cri import containerd_pb2 as containerd
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri.observe import uid_of

NAMESPACE: Final = "k8s.io"
"""Where containerd has the containers that were made through CRI."""

EXIT: Final = "/tasks/exit"
OOM: Final = "/tasks/oom"

FILTERS: Final = tuple(f'namespace=={NAMESPACE},topic=="{topic}"' for topic in (EXIT, OOM))
"""What to subscribe to at containerd: ends. What begins or is removed, edged has done itself."""

_ENDED: Final = frozenset({cri.CONTAINER_STOPPED_EVENT, cri.CONTAINER_DELETED_EVENT})


class Entry(Struct, frozen=True):
    """A sandbox or a container of a list."""

    uid: UID
    is_alive: bool
    state: int


Snapshot: TypeAlias = Mapping[str, Entry]
"""The entries of a list by their ids."""


class Announcement(Struct, frozen=True):
    """What an event says."""

    id: str
    """Of a container, or of a sandbox."""
    is_end: bool = True
    """False where it only says more of an end: that it was for want of memory."""


def snapshot(sandboxes: Iterable[cri.PodSandbox], containers: Iterable[cri.Container]) -> Snapshot:
    """Return what lists show."""
    entries = {
        s.id: Entry(uid_of(s.labels), s.state == cri.SANDBOX_READY, s.state) for s in sandboxes
    }
    for c in containers:
        is_alive = c.state in {cri.CONTAINER_RUNNING, cri.CONTAINER_UNKNOWN}
        entries[c.id] = Entry(uid_of(c.labels), is_alive, c.state)
    return entries


def changed(before: Snapshot, after: Snapshot) -> set[UID]:
    """Return the pods that something came to, went from, or changed its state in."""
    ids = before.keys() | after.keys()
    return {
        entry.uid
        for id_ in ids
        if before.get(id_) != after.get(id_)
        for entry in (before.get(id_), after.get(id_))
        if entry is not None
    }


def settled(awaited: Iterable[str], now: Snapshot) -> set[str]:
    """Return those of the announced ends that lists show.

    containerd announces an end before its CRI part has taken note of it.
    """
    return {id_ for id_ in awaited if id_ not in now or not now[id_].is_alive}


def announced_by_containerd(envelope: containerd.Envelope) -> Announcement | None:
    """Return what an event of containerd says; None if it is of no interest."""
    try:
        event = containerd.TaskEvent.FromString(envelope.event.value)
    except DecodeError:
        return None
    if envelope.topic == EXIT and event.id != event.container_id:
        return None  # a command that was executed beside the container's own process
    return Announcement(event.container_id, is_end=envelope.topic != OOM)


def announced_by_cri(event: cri.ContainerEventResponse) -> Announcement | None:
    """Return what an event of CRI says; None if it is of no interest."""
    return Announcement(event.container_id) if event.container_event_type in _ENDED else None


class Pending(Struct):
    """Pods to be told of, each once however often it changed."""

    _pods: dict[UID, None] = field(default_factory=dict)

    def add(self, pods: Iterable[UID]) -> None:
        """Have these told."""
        self._pods.update(dict.fromkeys(pods))

    def take(self) -> UID | None:
        """Return the one that waits longest, if one does."""
        for uid in self._pods:
            del self._pods[uid]
            return uid
        return None
