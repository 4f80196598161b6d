"""The Node in the API server: registered if it is not there, its status kept as it should be.

Nothing of the pods waits for this: they run without a Node, and without a cloud.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from common.beehive.message import raw
from common.clock import Clock
from common.delivery.backoff import Backoff, BackoffPolicy
from common.errors import RuntimeServiceError
from common.names import CLUSTER_SCOPE, Operation, ResourceType
from common.resource import build_resource
from edgecore.edged.node.facts import NodeFacts, Readings
from edgecore.edged.node.lease import Lease
from edgecore.edged.node.node import (
    NodeProfile,
    NodeState,
    allocatable,
    new_node,
    node_patch,
    node_status,
    with_heartbeat,
)
from edgecore.edged.node.pressure import PressureWatch
from edgecore.edged.ondemand import OnDemand
from edgecore.edged.podview import Object, uid_of, version_of
from edgecore.edged.requests import Answer, Link, Requests
from edgecore.edged.runtime.base import Runtime
from edgecore.edged.runtime.images import Image
from edgecore.edged.spec.fields import NodeView

logger = logging.getLogger(__name__)

_RETRY: Final = BackoffPolicy(first_s=1.0, cap_s=30.0)

_IMAGES_EVERY_S: Final = 60.0
"""Between two looks at the images, of which the runtime says nothing by itself."""


class Machine(Struct, frozen=True):
    """Where facts and readings come from: the kernel, or a made-up machine for scale tests."""

    facts: NodeFacts
    readings: Callable[[], Readings]


class NodeAgent:
    """Speaks for the node."""

    def __init__(  # noqa: PLR0913 - its collaborators, each of another kind
        self,
        tasks: asyncio.TaskGroup,
        requests: Requests,
        link: Link,
        clock: Clock,
        runtime: Runtime,
        *,
        machine: Machine,
        profile: NodeProfile,
        lease: Lease,
        look_s: float,
        report_s: float,
        watch: PressureWatch | None = None,
    ) -> None:
        """Make the agent.

        Args:
            tasks: where its task lives.
            requests: the way to the cloud.
            link: whether there is one.
            clock: for times and durations.
            runtime: whose health is the node's.
            machine: what the node runs on.
            profile: what is configured of the node.
            lease: told the Node's UID.
            look_s: seconds between two looks at the machine.
            report_s: seconds after which the status is sent although nothing changed.
            watch: what the readings mean, where others look at it too.
        """
        self._requests, self._link, self._clock, self._runtime = requests, link, clock, runtime
        self._machine, self._profile, self._lease = machine, profile, lease
        self._look_s, self._report_s = look_s, report_s
        self._watch = watch or PressureWatch(profile.thresholds)
        self._images: tuple[Image, ...] = ()
        self._images_at_s = float("-inf")
        self._registered = False
        self._reported: Object = {}
        self._version = 0
        self._sent_at_s = float("-inf")
        self._retry = Backoff(_RETRY)
        self._looks_since_s: float | None = None  # while it looks
        self._agent = OnDemand(tasks, "node", self._step)
        self.renamed: Callable[[str], None] = lambda _uid: None
        """Called with the Node's UID whenever that is another one; empty for no Node."""
        self.view = NodeView(profile.name, profile.ip, allocatable(profile, machine.facts))
        """What the pods may learn of this node."""

    def wake(self) -> None:
        """Look, and send what differs."""
        self._agent.wake()

    def restate(self) -> None:
        """Say everything again: there is a new connection."""
        self._sent_at_s = float("-inf")
        self.wake()

    def pushed(self, node: Object) -> None:
        """Take the Node as the API server pushed it: somebody may have changed its status."""
        self._take(node)
        self._registered = True
        self.wake()

    def vanished(self) -> None:
        """Take note that the Node was deleted, and register again, as another one."""
        logger.warning("the Node was deleted in the API server, and is registered again")
        self._forget()
        self.wake()

    def looks_for_s(self) -> float:
        """Return for how many seconds the look that goes on has lasted; 0 for none.

        It ends whatever the runtime answers, and also when that is late: one that does not is a
        sign that something hangs.
        """
        since_s = self._looks_since_s
        return 0.0 if since_s is None else self._clock.monotonic() - since_s

    def close(self) -> None:
        """Say no more."""
        self._agent.close()

    async def _step(self) -> float | None:
        if not self._link.connected:
            return None
        self._looks_since_s = self._clock.monotonic()
        try:
            status = await self._status()
        finally:
            self._looks_since_s = None
        answer = await (self._send(status) if self._registered else self._register(status))
        if answer is None or answer.ok:
            self._retry.reset()
            return self._look_s if self._registered else 0.0
        if answer.not_found and self._registered:
            self.vanished()
            return None
        return self._failed(answer)

    async def _register(self, status: dict[str, Any]) -> Answer | None:
        beating = with_heartbeat(status, self._clock.now())
        node = new_node(self._profile, self._machine.facts, beating)
        answer = await self._ask(Operation.INSERT, ResourceType.NODE, node)
        self._sent_at_s = self._clock.monotonic()
        if answer.status is not None and answer.status.code == HTTPStatus.CONFLICT:
            # It was registered before: its status is that of then.
            answer = await self._ask(Operation.QUERY, ResourceType.NODE, None)
            self._sent_at_s = float("-inf")
        if answer.ok:
            logger.info("node is registered", extra={"node": self._profile.name})
            self._registered = True
            self._take(answer.obj)
            self._agent.wake()
        return answer

    async def _send(self, status: dict[str, Any]) -> Answer | None:
        now_s = self._clock.monotonic()
        due = now_s - self._sent_at_s >= self._report_s
        patch = node_patch(self._reported, status, self._clock.now(), due=due)
        if patch is None:
            return None
        known = self._version
        answer = await self._ask(Operation.PATCH, ResourceType.NODE_PATCH, patch)
        if answer.ok:
            self._sent_at_s = now_s
            if not answer.obj:
                self._reported = {**self._reported, **status}
            elif self._version == known or version_of(answer.obj) > self._version:
                self._take(answer.obj)
        return answer

    async def _status(self) -> dict[str, Any]:
        problem = ""
        try:
            version = str(await self._runtime.version())
            if version != self._profile.runtime_version:
                self._profile = replace(self._profile, runtime_version=version)
            await self._look_at_images()
        except RuntimeServiceError as error:
            problem = f"container runtime is down: {error}"
        strain = self._watch.look(self._machine.readings(), self._clock.monotonic())
        state = NodeState(strain.pressures, problem, self._images)
        now = self._clock.now()
        return node_status(self._profile, self._machine.facts, state, self._reported, now)

    async def _look_at_images(self) -> None:
        now_s = self._clock.monotonic()
        if self._runtime.images is None or now_s - self._images_at_s < _IMAGES_EVERY_S:
            return
        self._images = tuple(await self._runtime.images.list_images())
        self._images_at_s = now_s

    async def _ask(self, operation: Operation, kind: ResourceType, content: Any) -> Answer:
        resource = build_resource("", CLUSTER_SCOPE, kind, self._profile.name, edge_site=True)
        return await self._requests.ask(operation, resource, raw(content))

    def _take(self, node: Object) -> None:
        if node:
            self._reported, self._version = node.get("status") or {}, version_of(node)
            self._note_uid(uid_of(node))

    def _forget(self) -> None:
        self._registered, self._reported, self._version = False, {}, 0
        self._note_uid("")

    def _note_uid(self, uid: str) -> None:
        if uid != self._lease.node_uid:
            self._lease.node_uid = uid
            self.renamed(uid)

    def _failed(self, answer: Answer) -> float:
        assert answer.status is not None
        logger.info("the Node's status was not taken", extra={"why": answer.status.message})
        return self._retry.next_s()
