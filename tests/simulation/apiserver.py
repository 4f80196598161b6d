"""An API server in memory: as much of one as cloudcore asks for, with revisions as etcd has them.

``test_apiserver`` holds it to what the real one does. What the real one cannot be made to do at a
wish stands here too: to be away, to forget its history, to come back from an older backup.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind
from common.clock import rfc3339
from tests.edgecore.edged.world import merge as strategic_merge

Object = dict[str, Any]

KINDS: Final = {
    one.plural: one
    for one in (
        kinds.PODS,
        kinds.NODES,
        kinds.NAMESPACES,
        kinds.CONFIGMAPS,
        kinds.SECRETS,
        kinds.SERVICES,
        kinds.ENDPOINT_SLICES,
        kinds.LEASES,
        kinds.EVENTS,
        kinds.PERSISTENT_VOLUMES,
        kinds.PERSISTENT_VOLUME_CLAIMS,
    )
}

_WITH_STATUS: Final = frozenset({"pods", "nodes"})
_WITH_GENERATION: Final = frozenset({"pods"})
_OVER: Final = frozenset({"Succeeded", "Failed"})
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_GRACE_S: Final = 30


class Key(NamedTuple):
    """Where an object is kept."""

    plural: str
    namespace: str
    name: str


class Answer(NamedTuple):
    """A response."""

    status: int
    body: bytes


class Refused(Exception):
    """A request that is answered by a Status."""

    def __init__(self, code: int, reason: str, message: str, *causes: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.causes = code, reason, message, causes

    def status(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": {"causes": [{"field": one} for one in self.causes]},
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class Request:
    """A request, its path taken apart."""

    method: str
    kind: ResourceKind
    key: Key
    subresource: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_strategic: bool = False

    def object(self) -> Object:
        decoded: Object = msgspec.json.decode(self.body) if self.body else {}
        return decoded


class Event(NamedTuple):
    """One line of a watch."""

    revision: int
    plural: str
    type: str
    line: bytes


class Write(NamedTuple):
    """A change, as the model of a simulation is told of it."""

    type: str
    key: Key
    before: Object | None
    now: Object | None


@dataclass
class Snapshot:
    """A backup."""

    revision: int
    objects: dict[Key, Object]


class ApiServer:
    """The objects, and the events since the last compaction."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Make one with the Service that is the API server itself; ``now_s`` is its clock."""
        self._now_s = now_s
        self.revision = 100
        self.compacted = 100
        """Events up to here are forgotten."""
        self.objects: dict[Key, Object] = {}
        self.log: dict[str, list[Event]] = {plural: [] for plural in KINDS}
        """By plural."""
        self.on_write: Callable[[Write], None] = lambda _: None
        self._uids = 0
        self._lists: dict[str, tuple[int, list[bytes]]] = {}
        self.create(kinds.SERVICES, {"metadata": {"namespace": "default", "name": "kubernetes"}})

    # --- what people and controllers do --------------------------------------------------------

    def create(self, kind: ResourceKind, obj: Object) -> Object:
        """Create an object; it is what a POST of an administrator does."""
        namespace = obj["metadata"].get("namespace", "")
        return self._create(kind, namespace, obj)

    def change(self, key: Key, change: Callable[[Object], None]) -> None:
        """Change an object as by an update, its status and all."""
        now = _copied(self.objects[key])
        change(now)
        self._write(KINDS[key.plural], key, now)

    def delete(self, key: Key, *, grace_s: int | None = None) -> None:
        """Delete an object; of a pod it is the end only where nothing has to end first."""
        options: Object = {} if grace_s is None else {"gracePeriodSeconds": grace_s}
        self._delete(KINDS[key.plural], key, options)

    def get(self, key: Key) -> Object | None:
        """Return the object."""
        return self.objects.get(key)

    def of_kind(self, kind: ResourceKind) -> Iterator[tuple[Key, Object]]:
        """Yield all objects of a kind."""
        return ((k, o) for k, o in self.objects.items() if k.plural == kind.plural)

    # --- what happens to etcd ------------------------------------------------------------------

    def compact(self) -> None:
        """Forget all events so far, but for watches that are open; lists under way expire."""
        self.compacted = self.revision
        self._lists.clear()

    def snapshot(self) -> Snapshot:
        """Return a backup of what there is."""
        return Snapshot(self.revision, dict(self.objects))  # objects are replaced, never changed

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to ``snapshot``; whoever watches has to be cut off by the caller.

        A restarted API server has no events from before its start.
        """
        lost = self.objects
        self.objects, self.revision = dict(snapshot.objects), snapshot.revision
        self.compact()
        for events in self.log.values():
            events.clear()
        for key, obj in lost.items():
            if self.objects.get(key) is not obj:
                self.on_write(Write("RESTORED", key, obj, self.objects.get(key)))
        for key, obj in self.objects.items():
            if key not in lost:
                self.on_write(Write("RESTORED", key, None, obj))

    # --- requests ------------------------------------------------------------------------------

    def serve(self, request: Request) -> Answer:
        """Answer any request but a watch."""
        try:
            match request.method:
                case "GET" if request.key.name:
                    return Answer(HTTPStatus.OK, self._encoded(request.key))
                case "GET":
                    return Answer(HTTPStatus.OK, self._list(request))
                case "POST":
                    return self._post(request)
                case "PUT":
                    return Answer(HTTPStatus.OK, self._put(request))
                case "PATCH":
                    return Answer(HTTPStatus.OK, self._patch(request))
                case "DELETE":
                    return Answer(HTTPStatus.OK, self._serve_delete(request))
        except Refused as refused:
            return Answer(refused.code, msgspec.json.encode(refused.status()))
        raise AssertionError(f"not served: {request.method}")

    def events(self, plural: str, after: int) -> list[Event]:
        """Return what a watch of ``plural`` tells from ``after`` on."""
        tail: list[Event] = []
        for event in reversed(self.log[plural]):
            if event.revision <= after:
                break
            tail.append(event)
        return tail[::-1]

    def bookmark(self, kind: ResourceKind) -> bytes:
        """Return the line that says how far a watch is."""
        metadata = {"resourceVersion": str(self.revision), "creationTimestamp": None}
        body = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        return msgspec.json.encode({"type": "BOOKMARK", "object": body}) + b"\n"

    def expired(self, version: int) -> bytes:
        """Return the line that ends a watch from a version that is forgotten."""
        text = f"too old resource version: {version} ({self.compacted})"
        status = Refused(HTTPStatus.GONE, "Expired", text).status()
        return msgspec.json.encode({"type": "ERROR", "object": status}) + b"\n"

    def _list(self, request: Request) -> bytes:
        token = request.params.get("continue", "")
        if token:
            if token not in self._lists:
                raise Refused(HTTPStatus.GONE, "Expired", "the continue parameter is too old")
            revision, items = self._lists.pop(token)
        else:
            revision, items = self.revision, list(self._items(request))
        limit = int(request.params.get("limit", "0")) or len(items)
        metadata: Object = {"resourceVersion": str(revision)}
        if len(items) > limit:
            metadata["continue"] = f"{revision}-{len(items)}-{request.key.plural}"
            self._lists[metadata["continue"]] = (revision, items[limit:])
        head = {"kind": f"{request.kind.kind}List", "apiVersion": request.kind.api_version}
        page = {**head, "metadata": metadata, "items": [msgspec.Raw(i) for i in items[:limit]]}
        return msgspec.json.encode(page)

    def _items(self, request: Request) -> Iterator[bytes]:
        field_name, _, wanted = request.params.get("fieldSelector", "").partition("=")
        for key, obj in sorted(self.of_kind(request.kind)):
            if request.key.namespace and key.namespace != request.key.namespace:
                continue
            if field_name and _field(obj, field_name) != wanted:
                continue
            yield msgspec.json.encode(obj)

    def _post(self, request: Request) -> Answer:
        self._create(request.kind, request.key.namespace, request.object())
        name = request.object()["metadata"]["name"]
        key = Key(request.kind.plural, request.key.namespace, name)
        return Answer(HTTPStatus.CREATED, self._encoded(key))

    def _create(self, kind: ResourceKind, namespace: str, obj: Object) -> Object:
        key = Key(kind.plural, namespace if kind.namespaced else "", obj["metadata"]["name"])
        if key in self.objects:
            text = f'{kind.plural} "{key.name}" already exists'
            raise Refused(HTTPStatus.CONFLICT, "AlreadyExists", text)
        self._uids += 1
        metadata = {
            **_copied(obj["metadata"]),
            "uid": f"{kind.kind.lower()}-{self._uids:06d}",
            "creationTimestamp": self._time(),
        }
        if kind.namespaced:
            metadata["namespace"] = namespace
        if kind.plural in _WITH_GENERATION:
            metadata["generation"] = 1
        made = {"metadata": metadata, **{k: v for k, v in obj.items() if k not in _HEAD}}
        if kind.plural == "pods":
            made["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        self._commit(kind, key, "ADDED", made)
        return self.objects[key]

    def _put(self, request: Request) -> bytes:
        before = self._there(request.key)
        obj = {k: v for k, v in request.object().items() if k not in _HEAD[:2]}
        _check(request.key, before, obj)
        obj["metadata"] = {**obj["metadata"], **_fixed(before)}
        if request.key.plural in _WITH_STATUS:
            obj["status"] = before.get("status", {})
        self._write(request.kind, request.key, obj)
        return self._encoded(request.key)

    def _patch(self, request: Request) -> bytes:
        before, change = self._there(request.key), request.object()
        _check(request.key, before, {"metadata": change.get("metadata") or {}}, is_patch=True)
        if request.subresource == "status":
            change = {"status": change.get("status") or {}}
        elif request.key.plural in _WITH_STATUS:
            change.pop("status", None)
        apply = strategic_merge if request.is_strategic else _merge
        now = apply(before, change)
        now["metadata"] = {**now["metadata"], **_fixed(before)}
        self._write(request.kind, request.key, now)
        return self._encoded(request.key)

    def _serve_delete(self, request: Request) -> bytes:
        options = request.object()
        wanted = (options.get("preconditions") or {}).get("uid")
        before = self._there(request.key)
        if wanted and wanted != before["metadata"]["uid"]:
            raise Refused(HTTPStatus.CONFLICT, "Conflict", "the UID in the precondition differs")
        body = self._encoded(request.key)
        self._delete(request.kind, request.key, options)
        return body

    def _delete(self, kind: ResourceKind, key: Key, options: Object) -> None:
        obj = self.objects[key]
        if kind.plural == "pods" and (grace_s := _grace(obj, options)) > 0:
            if "deletionTimestamp" in obj["metadata"]:
                return
            marked = _copied(obj)
            marked["metadata"]["deletionTimestamp"] = self._time(grace_s)
            marked["metadata"]["deletionGracePeriodSeconds"] = grace_s
            marked["metadata"]["generation"] += 1
            self._commit(kind, key, "MODIFIED", marked)
            return
        self._commit(kind, key, "DELETED", obj)

    # --- etcd ----------------------------------------------------------------------------------

    def _there(self, key: Key) -> Object:
        obj = self.objects.get(key)
        if obj is None:
            text = f'{key.plural} "{key.name}" not found'
            raise Refused(HTTPStatus.NOT_FOUND, "NotFound", text)
        return obj

    def _write(self, kind: ResourceKind, key: Key, now: Object) -> None:
        before = self.objects[key]
        if now == before:
            return  # what changes nothing is no change, and no event
        if kind.plural in _WITH_GENERATION and now.get("spec") != before.get("spec"):
            now["metadata"] = {
                **now["metadata"],
                "generation": before["metadata"]["generation"] + 1,
            }
        self._commit(kind, key, "MODIFIED", now)

    def _commit(self, kind: ResourceKind, key: Key, event_type: str, obj: Object) -> None:
        self.revision += 1
        now = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.revision)}}
        before = self.objects.get(key)
        if event_type == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = now
        line = b'{"type":"%b","object":%b}\n' % (event_type.encode(), _full(kind, now))
        self.log[kind.plural].append(Event(self.revision, kind.plural, event_type, line))
        self.on_write(Write(event_type, key, before, now))

    def _encoded(self, key: Key) -> bytes:
        return _full(KINDS[key.plural], self._there(key)) + b"\n"

    def _time(self, later_s: float = 0) -> str:
        return rfc3339(_EPOCH + timedelta(seconds=self._now_s() + later_s))


_FIXED: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_HEAD: Final = ("kind", "apiVersion", "metadata")


def parse(method: str, path: str) -> tuple[ResourceKind, Key, str]:
    """Return kind, key and subresource of a path."""
    parts = [unquote(part) for part in path.split("/")[1:]]
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "")[:3]
    assert plural in KINDS, f"{method} {path}"
    return KINDS[plural], Key(plural, namespace, name), subresource


def _copied(obj: Object) -> Object:
    copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


def _full(kind: ResourceKind, obj: Object) -> bytes:
    return kind.head() + msgspec.json.encode(obj)[1:]


def _check(key: Key, before: Object, now: Object, *, is_patch: bool = False) -> None:
    """Refuse what is meant for another object, or for another version of it."""
    uid, version = now["metadata"].get("uid"), now["metadata"].get("resourceVersion")
    if uid and uid != before["metadata"]["uid"]:
        text = f'{key.plural} "{key.name}": metadata.uid: field is immutable'
        if is_patch:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", text, "metadata.uid")
        raise Refused(HTTPStatus.CONFLICT, "Conflict", text)
    if version and version != before["metadata"]["resourceVersion"]:
        text = "the object has been modified; please apply your changes to the latest version"
        raise Refused(HTTPStatus.CONFLICT, "Conflict", text)


def _fixed(obj: Object) -> Object:
    """Return the metadata that no client can change."""
    return {name: obj["metadata"][name] for name in _FIXED if name in obj["metadata"]}


def _grace(pod: Object, options: Object) -> int:
    """Return the seconds that a pod has to end; none where nothing can be running."""
    is_over = (pod.get("status") or {}).get("phase") in _OVER
    if is_over or not pod["spec"].get("nodeName"):
        return 0
    wanted = options.get("gracePeriodSeconds")
    if wanted is None:
        wanted = pod["spec"].get("terminationGracePeriodSeconds", _GRACE_S)
    return int(wanted)


def _merge(have: Object, change: Object) -> Object:
    """Apply a merge patch (RFC 7396)."""
    result = dict(have)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merge(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


def _field(obj: Object, path: str) -> object:
    value: Any = obj
    for name in path.split("."):
        value = value.get(name, "") if isinstance(value, dict) else ""
    return value
