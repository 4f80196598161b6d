"""Telling the API server what became of one pod, until it says the same (promise P10).

The status is compared with what the API server is known to have, and sent where it differs: one
message at a time, always the newest state. What the API server has is learnt from its answers and
from the pods that it pushes, so it does not matter who changed it. A pod that has ended after a
deletion is then deleted for good, as kubelet does.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import Any, Final

from common.beehive.message import raw
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.names import Operation, ResourceType
from common.resource import build_resource
from edgecore.edged.containerstatus import Situation
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, is_deleting, key_of, uid_of, version_of
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.status import pod_status, status_patch

logger = logging.getLogger(__name__)

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=30.0)
_REPEAT: Final = BackoffPolicy(first_s=5.0, cap_s=300.0)
"""Before sending a patch again that the API server took and that changed nothing there."""

_AGAIN: Final = BackoffPolicy(first_s=60.0, cap_s=900.0)
"""Before saying again what was refused for good, or was done and nothing came of it.

Both may be of the moment: a cloudcore that does not know the pod yet, or has lost sight of the
node for a while, says that there is no such pod.
"""

_WINDOW_S: Final = 60.0
_WINDOW_PATCHES: Final = 30
"""Patches of one pod in that time at most, if somebody undoes what they say."""

_REFUSED_FOR_GOOD: Final = frozenset(
    {
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


class Reporter:
    """The status of one pod on its way to the API server."""

    def __init__(
        self, tasks: asyncio.TaskGroup, requests: Requests, link: Link, clock: Clock
    ) -> None:
        self._requests, self._link, self._clock = requests, link, clock
        self._pod: Object = {}
        self._reported: Object = {}
        self._version = 0
        self._situation: Situation | None = None
        self._refused_in = -1  # the link's generation in which the API server refused for good
        self._deleted_in = -1  # the link's generation in which the delete was answered
        self._again_s = 0.0  # when, on this link, either is tried again
        self._last_patch = ""
        self._sent_at_s: deque[float] = deque(maxlen=_WINDOW_PATCHES)
        self._retry, self._repeat = Backoff(_RETRY), Backoff(_REPEAT)
        self._again = Backoff(_AGAIN)
        self._sender = OnDemand(tasks, "status", self._step)
        self.is_known = True
        """Whether the API server has the pod at all: not so a static pod without a mirror."""

    @property
    def reported(self) -> Object:
        """The status that the API server is known to have."""
        return self._reported

    @property
    def wanted(self) -> Object:
        """The status that the API server should have; what it has, until something is known."""
        if self._situation is None:
            return self._reported
        return pod_status(self._pod, self._situation, self._reported, self._clock.now())

    def pushed(self, pod: Object) -> None:
        """Take a pod as the API server pushed it; its status may differ from what we said."""
        self._pod, self._reported, self._version = pod, pod.get("status") or {}, version_of(pod)
        self._refused_in = -1
        self._again.reset()
        self.wake()

    def report(self, situation: Situation) -> None:
        """Have the API server told that this is the situation now."""
        self._situation = situation
        self.wake()

    def wake(self) -> None:
        """Compare again, and send what differs; does nothing while there is no link."""
        if self._link.connected and self._situation is not None and self.is_known:
            self._sender.wake()

    def close(self) -> None:
        """Say no more of this pod."""
        self._sender.close()

    async def _step(self) -> float | None:
        generation = self._link.generation
        if not self._link.connected or self._situation is None:
            return None
        if self._refused_in == generation and (left_s := self._left_s()) > 0:
            return left_s
        wanted = self.wanted
        patch = status_patch(uid_of(self._pod), self._reported, wanted)
        if patch is None:
            self._repeat.reset()
            self._last_patch = ""
            return await self._finish(generation)
        if patch == self._last_patch:
            self._last_patch = ""  # the next look sends it
            return self._repeat.next_s()
        if (wait_s := self._wait_s()) > 0:
            return wait_s
        self._sent_at_s.append(self._clock.monotonic())
        known = self._version
        answer = await self._ask(Operation.PATCH, ResourceType.POD_PATCH, patch)
        if not answer.ok:
            if self._version != known:
                # What was pushed meanwhile has woken us: the patch was one to an older status.
                generation = -1
            return self._failed(answer, generation)
        self._retry.reset()
        self._last_patch = patch
        if not answer.obj:  # KubeEdge may answer with no object: what was sent is what it has
            self._reported = {**self._reported, **wanted}
        elif self._version == known or version_of(answer.obj) > self._version:
            # Not older than what was pushed meanwhile. Were only versions compared, nothing would
            # be believed after etcd was restored from a backup.
            self._reported, self._version = answer.obj.get("status") or {}, version_of(answer.obj)
        self._sender.wake()
        return None

    def _wait_s(self) -> float:
        """Return the seconds until another patch may be sent; none, or less, for at once."""
        if len(self._sent_at_s) < _WINDOW_PATCHES:
            return 0.0
        return self._sent_at_s[0] + _WINDOW_S - self._clock.monotonic()

    async def _finish(self, generation: int) -> float | None:
        """Delete the pod in the API server once everything else is done."""
        over = self._situation is not None and self._situation.over
        if not over or not is_deleting(self._pod):
            return None
        if self._deleted_in == generation and (left_s := self._left_s()) > 0:
            return left_s
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid_of(self._pod)}}
        answer = await self._ask(Operation.DELETE, ResourceType.POD, options)
        if not answer.ok and not answer.not_found:
            return self._failed(answer, generation)
        self._retry.reset()
        self._deleted_in = generation
        return self._wait_long()

    def _wait_long(self) -> float:
        pause_s = self._again.next_s()
        self._again_s = self._clock.monotonic() + pause_s
        return pause_s

    def _left_s(self) -> float:
        return self._again_s - self._clock.monotonic()

    async def _ask(self, operation: Operation, kind: ResourceType, content: Any) -> Answer:
        namespace, _, name = key_of(self._pod).partition("/")
        resource = build_resource("", namespace, kind, name, edge_site=True)
        return await self._requests.ask(operation, resource, raw(content))

    def _failed(self, answer: Answer, generation: int) -> float | None:
        assert answer.status is not None
        extra = {"pod": key_of(self._pod), "code": answer.status.code, "why": answer.status.message}
        if answer.status.code in _REFUSED_FOR_GOOD:
            # Not a reason to end the pod: that it is gone will be said by a delete message.
            logger.warning("status refused, said again later or on the next link", extra=extra)
            self._refused_in = generation
            return self._wait_long()
        logger.debug("status not delivered, tried again", extra=extra)
        return self._retry.next_s()
