"""What tests of edged play with: metamanager and the API server behind it, in one object.

It is a module on a real bus. It keeps pods, ConfigMaps, Secrets, the Node and the lease, answers as
the recorded cloud does, and applies patches as an API server would. Nothing here touches edged but
by messages.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from common import capabilities
from common.beehive.context import MessageContext
from common.beehive.message import Message, new, raw, refusal, reply
from common.capabilities import Capabilities
from common.clock import Clock
from common.errors import MailboxClosedError, ReplyTimeoutError
from common.names import (
    LINK_RESOURCE,
    PROGRESS_RESOURCE,
    GroupName,
    LinkState,
    ModuleName,
    Operation,
)
from common.resource import parse_resource
from common.status import Status, StatusError, failure, not_found
from common.wire import loads
from edgecore.edged.edged import Edged
from edgecore.edged.edgedconfig import EdgedConfig
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.strategic import MERGE_KEYS
from edgecore.metrics import EdgeMetrics

NODE = "n1"
IP = "192.0.2.7"


def pod_object(name: str, uid: str = "", **spec: Any) -> dict[str, Any]:
    """Return a Pod bound to ``NODE``, with one container unless ``spec`` says otherwise."""
    spec.setdefault("containers", [container("c")])
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "uid": uid or f"uid-{name}"},
        "spec": {"nodeName": NODE, "restartPolicy": "Always", "terminationGracePeriodSeconds": 5}
        | spec,
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }


def container(name: str, *command: str, **fields: Any) -> dict[str, Any]:
    """Return a container's spec."""
    return {"name": name, "image": "img", "command": list(command or ("sleep", "1000")), **fields}


def config_object(kind: str, name: str, **data: str) -> dict[str, Any]:
    """Return a ConfigMap or, with values in base64, a Secret."""
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{kind}-{name}"}
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata, "data": data}


def merge(have: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a strategic-merge patch as far as those of edged go."""
    result = copy.deepcopy(have)
    for key, value in patch.items():
        if key.startswith("$setElementOrder/"):
            continue
        if value is None:
            result.pop(key, None)
        elif key in MERGE_KEYS:
            result[key] = _merge_list(key, result.get(key, []), value, patch)
        elif isinstance(value, dict):
            result[key] = merge(result.get(key) or {}, value)
        else:
            result[key] = value
    return result


def _merge_list(name: str, have: list[Any], changes: list[Any], patch: dict[str, Any]) -> list[Any]:
    key = MERGE_KEYS[name]
    elements = {element[key]: element for element in have}
    for change in changes:
        if change.get("$patch") == "delete":
            elements.pop(change[key])
        else:
            elements[change[key]] = merge(elements.get(change[key], {}), change)
            if "lastProbeTime" in change:
                elements[change[key]]["lastProbeTime"] = None
    order = [entry[key] for entry in patch.get(f"$setElementOrder/{name}", [])]
    return sorted(elements.values(), key=lambda e: order.index(e[key]) if e[key] in order else -1)


async def eventually(predicate: Callable[[], Any]) -> None:
    """Wait until ``predicate`` holds of files or processes, which do not say when they change."""
    while not predicate():  # noqa: ASYNC110 - nobody could set an event
        await asyncio.sleep(0.005)


class World:
    """Metamanager and everything behind it, as edged sees it."""

    def __init__(self, context: MessageContext) -> None:
        self.context = context
        self.objects: dict[str, dict[str, Any]] = {}
        """By resource, as ``default/pod/web``: what the API server has."""
        self.stored: list[dict[str, Any]] = []
        """The pods that the edge-store lists."""
        self.is_complete = True
        """Whether the edge-store is known to lack nothing."""
        self.requests: list[Message] = []
        self.refuse: Callable[[Message], Status | None] = lambda _: None
        self.hold: Callable[[Message], bool] = lambda _: False
        """Requests that get no answer."""
        self.gives_uids = False
        """Whether what is made here gets a UID, as in an API server; a Node always does."""
        self.is_connected = False
        self.edged: Edged
        self._version = 100
        self._changed = asyncio.Event()

    async def run(self) -> None:
        while True:
            try:
                message = await self.context.receive(ModuleName.META_MANAGER)
            except MailboxClosedError:
                return
            self.requests.append(message)
            if not self.hold(message):
                self.context.send_resp(self._answer(message))
            self.changed()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, predicate: Callable[[], Any]) -> Any:
        """Wait until ``predicate`` holds; it is asked after each request of edged."""
        while not (result := predicate()):
            self._changed.clear()
            await self._changed.wait()
        return result

    def asked(self, operation: str, resource: str) -> list[Message]:
        return [r for r in self.requests if (r.operation, r.resource) == (operation, resource)]

    def status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.objects.get(f"default/pod/{name}", {}).get("status", {})
        return status

    def container(self, name: str, container_name: str = "c") -> dict[str, Any]:
        statuses = [
            *self.status(name).get("containerStatuses", []),
            *self.status(name).get("initContainerStatuses", []),
        ]
        return next((s for s in statuses if s["name"] == container_name), {"state": {}})

    async def connect(self, agreed: Capabilities = capabilities.NONE) -> None:
        await self._link(LinkState.CONNECTED, agreed)

    async def disconnect(self) -> None:
        await self._link(LinkState.DISCONNECTED)

    async def _link(self, state: LinkState, agreed: Capabilities = capabilities.NONE) -> None:
        self.is_connected = state is LinkState.CONNECTED
        content = raw({"state": state, "protocol": "kubeedge", "capabilities": sorted(agreed)})
        await self.context.send(
            ModuleName.EDGED,
            new(ModuleName.EDGE_HUB, GroupName.META, Operation.CONNECT, LINK_RESOURCE, content),
        )

    async def works(self, *, timeout_s: float = 10.0) -> bool:
        """Ask edged whether it does its work, as metamanager does; return whether it says so."""
        question = new(
            ModuleName.META_MANAGER, GroupName.EDGED, Operation.KEEPALIVE, PROGRESS_RESOURCE
        )
        try:
            await self.context.send_sync(ModuleName.EDGED, question, timeout_s=timeout_s)
        except ReplyTimeoutError:
            return False
        return True

    async def put(self, obj: dict[str, Any], operation: Operation = Operation.UPDATE) -> None:
        """Have the API server know ``obj``, and push it."""
        resource = resource_of(obj)
        self.objects[resource] = self._versioned(obj)
        await self.push(operation, resource, self.objects[resource])

    async def push(self, operation: Operation, resource: str, obj: Any) -> None:
        message = new(ModuleName.EDGE_CONTROLLER, GroupName.RESOURCE, operation, resource, raw(obj))
        await self.context.send(ModuleName.EDGED, message)

    async def delete(self, name: str, *, graceful: bool = True) -> None:
        """Delete a pod as the API server does: mark it, or have it gone."""
        pod = self.objects[f"default/pod/{name}"]
        if graceful:
            marked = copy.deepcopy(pod)
            marked["metadata"] |= {
                "deletionTimestamp": "2026-11-24T00:00:00Z",
                "deletionGracePeriodSeconds": pod["spec"]["terminationGracePeriodSeconds"],
            }
            await self.put(marked)
            return
        del self.objects[f"default/pod/{name}"]
        await self.push(Operation.DELETE, f"default/pod/{name}", pod)

    def _versioned(self, obj: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        return {**obj, "metadata": obj["metadata"] | {"resourceVersion": str(self._version)}}

    def _answer(self, request: Message) -> Message:
        if request.resource == "null/pod":
            listed = {"complete": self.is_complete, "items": self.stored}
            return reply(request, raw(listed))
        if request.resource == "null/service":
            services = [o for key, o in self.objects.items() if "/service/" in key]
            return reply(request, raw({"complete": True, "items": services}))
        if status := self.refuse(request):
            return refusal(request, status)
        resource = parse_resource(request.resource, edge_site=True)
        if request.operation is Operation.QUERY:
            return self._query(request, resource.resource_type)
        if not self.is_connected:
            return refusal(request, failure(503, "not connected"))
        match request.operation, resource.resource_type:
            case Operation.PATCH, "podpatch" | "nodepatch":
                return self._patch(request)
            case Operation.DELETE, "pod":
                return reply(request)
            case _:
                return self._write(request)

    def _query(self, request: Message, kind: str) -> Message:
        if kind == "serviceaccounttoken":
            content = {**loads(request.content), "status": {"token": "t0ken"}}
            return reply(request, raw(content))
        found = self.objects.get(request.resource)
        if found is None:
            return refusal(request, not_found(kind, request.resource))
        wrapped = {"Object": found, "Err": None} if kind == "lease" else found
        return reply(request, raw(wrapped))

    def _patch(self, request: Message) -> Message:
        resource = request.resource.replace("/podpatch/", "/pod/").replace("/nodepatch/", "/node/")
        have = self.objects.get(resource)
        if have is None:
            status = StatusError(not_found("pod", resource))
            return reply(request, raw({"Object": None, "Err": status}))
        patch = json.loads(request.data())
        self.objects[resource] = self._versioned(merge(have, patch))
        return reply(request, raw({"Object": self.objects[resource], "Err": None}))

    def _write(self, request: Message) -> Message:
        if request.operation is Operation.INSERT and request.resource in self.objects:
            status = StatusError(failure(409, "is there", reason="AlreadyExists"))
            return reply(request, raw({"Object": None, "Err": status}))
        obj = loads(request.content)
        if request.resource.startswith("null/node/"):
            obj["metadata"]["uid"] = f"uid-node-{self._version}"
        elif self.gives_uids:
            obj["metadata"].setdefault("uid", f"uid-made-{self._version}")
        self.objects[request.resource] = self._versioned(obj)
        return reply(request, raw({"Object": self.objects[request.resource], "Err": None}))


def resource_of(obj: dict[str, Any]) -> str:
    """Return where ``obj`` is found."""
    namespace = obj["metadata"].get("namespace", "null")
    return f"{namespace}/{obj['kind'].lower()}/{obj['metadata']['name']}"


@asynccontextmanager
async def edge(
    data_dir: Path,
    runtime: Runtime,
    *,
    connected: bool = True,
    stored: list[Any] | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run edged on ``runtime`` in a world of its own; containers go on when the context ends.

    ``settings`` are further ones of ``EdgedConfig``. Whether this machine is short of something is
    nobody's business here.
    """
    context = MessageContext()
    context.add_module(ModuleName.META_MANAGER, GroupName.META)
    context.add_module(ModuleName.EDGED, GroupName.EDGED)
    world = World(context)
    for pod in stored or ():
        world.stored.append(pod)
        world.objects[resource_of(pod)] = pod
    metrics = EdgeMetrics(CollectorRegistry())
    config = EdgedConfig(
        node_name=NODE,
        node_ip=IP,
        root_dir=data_dir,
        logs_dir=data_dir / "logs" / "pods",
        thresholds=(),
        event_lag_s=0,
        **settings,
    )
    edged = world.edged = Edged(context, runtime, clock or Clock(), config, metrics)
    async with asyncio.TaskGroup() as modules:
        modules.create_task(world.run(), name="world")
        modules.create_task(edged.run(), name="edged")
        if connected:
            await world.connect()
        yield world
        context.close(ModuleName.EDGED)
        context.close(ModuleName.META_MANAGER)
