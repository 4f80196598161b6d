"""Keeping the mirror pods of this node in the API server, while there is a way to it.

Nothing of a static pod waits for its mirror. Without a mirror the cluster only does not see it.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from msgspec import Struct, field

from common.beehive.message import raw
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import UID, Operation, ResourceType
from common.resource import build_resource
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, key_of, uid_of
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.static.manifests import StaticSet
from edgecore.edged.static.mirror import MirrorStep, mirror_object, mirrors, next_step

logger = logging.getLogger(__name__)

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=300.0)
_CALM_S: Final = 600.0
"""A mirror that was left alone for this long is made again at once when somebody deletes it."""

_NODE_RETRY_S: Final = 5.0


class _Pace(Struct):
    """When a step may be done again: not at once for ever, if somebody keeps deleting a mirror."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_RETRY))
    tried_s: float = float("-inf")
    due_s: float = float("-inf")

    def tried(self, now_s: float) -> None:
        if now_s - self.tried_s >= _CALM_S:
            self.backoff.reset()
        self.tried_s, self.due_s = now_s, now_s + self.backoff.next_s()


class MirrorPods:
    """The mirrors of all static pods of the node."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        requests: Requests,
        link: Link,
        clock: Clock,
        node: str,
        changed: Callable[[UID], None],
    ) -> None:
        """Make it; it knows of no pod.

        Args:
            tasks: where its task lives when there is one.
            requests: the way to the API server.
            link: whether there is one.
            clock: for pauses.
            node: name of this node.
            changed: called with the UID of a static pod whose mirror came, changed or went.
        """
        self._requests, self._link, self._clock = requests, link, clock
        self._node, self._changed = node, changed
        self._static: dict[str, Object] = {}
        self._complete = False
        self._mirrors: dict[str, Object] = {}
        self._deleted: dict[str, UID] = {}  # by us: what is still said of them is old
        self._paces: dict[tuple[str, MirrorStep], _Pace] = {}
        self.node_uid = ""
        """UID of the Node, which owns the mirrors; nothing is made while it is empty."""
        self._keeper = OnDemand(tasks, "mirror pods", self._step)

    def static(self, found: StaticSet) -> None:
        """Take the static pods as they are now; say which new ones have their mirror already."""
        before = {uid_of(pod) for pod in self._static.values()}
        self._static = {key_of(pod): pod for pod in found.pods}
        self._complete = found.complete
        keys = self._static.keys() | self._mirrors.keys()
        self._paces = {which: pace for which, pace in self._paces.items() if which[0] in keys}
        self._deleted = {key: uid for key, uid in self._deleted.items() if key in keys}
        for uid in map(uid_of, found.pods):
            if uid not in before and self.mirror_of(uid) is not None:
                self._changed(uid)
        self._wake()

    def pushed(self, mirror: Object) -> None:
        """Take a mirror as the API server has it."""
        key = key_of(mirror)
        if uid_of(mirror) == self._deleted.get(key):
            return
        self._take(key, mirror)
        self._wake()

    def gone(self, key: str, uid: UID) -> None:
        """Take that a pod of the API is gone; it need not be a mirror.

        Args:
            key: its namespace and name.
            uid: as it was; empty where whatever has the name is meant.
        """
        known = self._mirrors.get(key)
        if known is not None and uid in ("", uid_of(known)):
            self._take(key, None)
            self._wake()

    def mirror_of(self, uid: UID) -> Object | None:
        """Return the mirror of a static pod, in whose name its status is reported.

        Args:
            uid: of the static pod.
        """
        static = next((pod for pod in self._static.values() if uid_of(pod) == uid), None)
        mirror = self._mirrors.get(key_of(static)) if static is not None else None
        if static is None or mirror is None or not mirrors(mirror, static):
            return None
        return mirror

    def static_of(self, mirror: Object) -> Object | None:
        """Return the static pod that has the name of ``mirror``."""
        return self._static.get(key_of(mirror))

    def wake(self) -> None:
        """Try everything again: there is a new connection, or the Node is known now."""
        self._paces.clear()
        self._wake()

    def close(self) -> None:
        """Do no more."""
        self._keeper.close()

    def _wake(self) -> None:
        if self._link.connected:
            self._keeper.wake()

    def _take(self, key: str, mirror: Object | None) -> None:
        before = self._mirrors.pop(key, None)
        if mirror is not None:
            self._mirrors[key] = mirror
        if before != mirror and (static := self._static.get(key)) is not None:
            self._changed(uid_of(static))

    async def _step(self) -> float | None:
        waits = []
        for key in sorted(self._static.keys() | self._mirrors.keys()):
            while self._link.connected:
                wait_s = await self._advance(key)
                if wait_s is None or wait_s > 0:
                    waits.append(wait_s)
                    break
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    async def _advance(self, key: str) -> float | None:
        """Do the next step for one mirror; return the seconds until another, None for never."""
        static, mirror = self._static.get(key), self._mirrors.get(key)
        step = next_step(static, mirror, complete=self._complete)
        if step is MirrorStep.NOTHING:
            return None
        if step is MirrorStep.CREATE and not self.node_uid:
            return _NODE_RETRY_S
        pace = self._paces.setdefault((key, step), _Pace())
        now_s = self._clock.monotonic()
        if pace.due_s > now_s:
            return pace.due_s - now_s
        if mirror is not None:
            answer = await self._delete(key, mirror)
        else:
            assert static is not None
            answer = await self._create(key, static)
        if mirror is None or not answer.ok:
            pace.tried(now_s)
        if answer.status is not None:
            extra = {"pod": key, "code": answer.status.code, "why": answer.status.message}
            is_refusal = answer.status.code < HTTPStatus.INTERNAL_SERVER_ERROR
            level = logging.WARNING if is_refusal else logging.DEBUG
            logger.log(level, "mirror pod not written, tried again", extra=extra)
        return 0.0

    async def _delete(self, key: str, mirror: Object) -> Answer:
        uid = uid_of(mirror)
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        answer = await self._ask(Operation.DELETE, key, options)
        if not answer.ok and not answer.not_found:
            return answer
        if key in self._static:
            self._deleted[key] = uid
        if (known := self._mirrors.get(key)) is not None and uid_of(known) == uid:
            self._take(key, None)
        return Answer()

    async def _create(self, key: str, static: Object) -> Answer:
        mirror = mirror_object(static, self._node, self.node_uid)
        answer = await self._ask(Operation.INSERT, key, mirror)
        if answer.ok and uid_of(answer.obj) and key not in self._mirrors:
            self._take(key, answer.obj)
        return answer

    async def _ask(self, operation: Operation, key: str, content: object) -> Answer:
        namespace, _, name = key.partition("/")
        resource = build_resource("", namespace, ResourceType.POD, name, edge_site=True)
        return await self._requests.ask(operation, resource, raw(content))
