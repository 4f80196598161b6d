"""Kubernetes Events about pods: told when there is a link, counted when they repeat, never many.

An Event is news for people, not state: what does not fit is dropped and counted.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from common.beehive.message import raw
from common.clock import rfc3339
from common.names import Operation, ResourceType
from common.resource import build_resource
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, uid_of
from edgecore.edged.requests import Link, Requests
from edgecore.metrics import EdgeMetrics

logger = logging.getLogger(__name__)

KEPT: Final = 256
"""Events that are remembered, to be sent or to be counted when they come again."""

_AT_ONCE: Final = 16
_PAUSE_S: Final = 1.0
_RETRY_S: Final = 10.0
_MAX_MESSAGE_CHARS: Final = 1024
_NAMESPACE_OF_NODES: Final = "default"
"""Where Events about what has no namespace are kept."""

_Key = tuple[str, str, str, str]


class _Event(Struct):
    about: Mapping[str, str]
    """The object that it is about, as an Event names it."""
    kind: str
    reason: str
    message: str
    name: str
    first: datetime
    last: datetime
    count: int = 0
    sent: int = 0
    """The count that the API server was told."""


class Events:
    """The Events of one node."""

    def __init__(  # noqa: PLR0913 - its collaborators, each of another kind
        self,
        tasks: asyncio.TaskGroup,
        requests: Requests,
        link: Link,
        metrics: EdgeMetrics,
        now: Callable[[], datetime],
        node: str,
        *,
        lag_s: float,
    ) -> None:
        """Make it; there is nothing to tell.

        Args:
            tasks: where its task lives.
            requests: the way to the API server.
            link: whether there is one.
            metrics: counts what is dropped.
            now: the time of day, as the cloud would tell it.
            node: whose Events these are.
            lag_s: seconds that the first one waits for others.
        """
        self._requests, self._link, self._metrics = requests, link, metrics
        self._now, self._node, self._lag_s = now, node, lag_s
        self._timer: asyncio.TimerHandle | None = None
        self._events: OrderedDict[_Key, _Event] = OrderedDict()
        self._sender = OnDemand(tasks, "events", self._step)

    def record(
        self, pod: Object, kind: str, reason: str, message: str, *, container: str = ""
    ) -> None:
        """Note that something happened to ``pod``.

        Args:
            pod: whom it is about.
            kind: ``Normal`` or ``Warning``.
            reason: a CamelCase word.
            message: for people; the same words again make one Event with a higher count.
            container: name of the container, if it is about one.
        """
        metadata = pod["metadata"]
        about = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": uid_of(pod),
        }
        if container:
            about["fieldPath"] = f"spec.containers{{{container}}}"
        self._record(about, kind, reason, message)

    def record_of_node(self, kind: str, reason: str, message: str) -> None:
        """Note that something happened to this node; arguments as those of ``record``."""
        about = {"kind": "Node", "apiVersion": "v1", "name": self._node, "uid": self._node}
        self._record(about, kind, reason, message)

    def _record(self, about: Mapping[str, str], kind: str, reason: str, message: str) -> None:
        message = message[:_MAX_MESSAGE_CHARS]
        key = (about["uid"], about.get("fieldPath", ""), reason, message)
        now = self._now()
        event = self._events.pop(key, None)
        if event is None:
            name = f"{about['name']}.{time.time_ns():x}"
            event = _Event(about, kind, reason, message, name, now, now)
        event.count += 1
        self._metrics.events.inc(reason)
        event.last = now
        self._events[key] = event
        while len(self._events) > KEPT:
            _, oldest = self._events.popitem(last=False)
            if oldest.sent < oldest.count:
                self._metrics.dropped.inc("event_overflow")
                logger.debug("event dropped", extra={"reason": oldest.reason})
        self.wake()

    def wake(self) -> None:
        """Send what was not sent, if there is a link, after a moment."""
        if self._link.connected and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._lag_s, self._send)

    def close(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._sender.close()

    def _send(self) -> None:
        self._timer = None
        self._sender.wake()

    async def _step(self) -> float | None:
        pending = [event for event in self._events.values() if event.sent < event.count]
        for event in pending[:_AT_ONCE]:
            if not self._link.connected:
                return None
            count = event.count
            namespace = event.about.get("namespace", _NAMESPACE_OF_NODES)
            resource = build_resource("", namespace, ResourceType.EVENT, event.name, edge_site=True)
            operation = Operation.UPDATE if event.sent else Operation.INSERT
            answer = await self._requests.ask(operation, resource, raw(self._object(event)))
            if not answer.ok:
                return _RETRY_S
            event.sent = count
        return _PAUSE_S if len(pending) > _AT_ONCE else None

    def _object(self, event: _Event) -> dict[str, Any]:
        namespace = event.about.get("namespace", _NAMESPACE_OF_NODES)
        return {
            "kind": "Event",
            "apiVersion": "v1",
            "metadata": {"name": event.name, "namespace": namespace},
            "involvedObject": dict(event.about),
            "reason": event.reason,
            "message": event.message,
            "source": {"component": "edged", "host": self._node},
            "firstTimestamp": rfc3339(event.first),
            "lastTimestamp": rfc3339(event.last),
            "count": event.count,
            "type": event.kind,
            "reportingComponent": "edged",
            "reportingInstance": self._node,
        }
