"""What tests of pods in real containers have in common: run one, read its output, its states."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from deploy.devcluster.api import Api, Object, WaitError
from deploy.devcluster.site import Edge, is_ready, log_lines, name_of
from tests.e2e.conftest import pod

STAY = "while :; do sleep 0.1; done"
"""A script that does nothing until it is killed: the shell ignores SIGTERM."""

OBEY = f"trap 'exit 0' TERM; {STAY}"
"""A script that does nothing until it is asked to end."""

WAIT_S = 40.0
"""How long anything may take on a busy machine."""


class Place:
    """One namespace and one edge on real containers, where tests put their pods."""

    def __init__(self, api: Api, edge: Edge, namespace: str) -> None:
        self.api, self.edge, self.node = api, edge, edge.daemon.node
        self.base = f"/api/v1/namespaces/{namespace}"
        self.pods, self.namespace = f"{self.base}/pods", namespace

    def pod(self, name: str, script: str, **spec: object) -> Object:
        """Return a pod for this edge; see ``tests.e2e.conftest.pod``."""
        return pod(name, self.node, script=script, **spec)

    async def create(self, *pods: Object) -> None:
        """Create ``pods``, whose names are then as good as they are."""
        for each in pods:
            await self.api.create(self.pods, each)

    async def wait(
        self, name: str, holds: Callable[[Object], object], what: str, *, timeout_s: float = WAIT_S
    ) -> Object:
        """Return the pod as soon as ``holds`` is true of it."""
        found = await self.api.wait(
            f"{self.pods}/{name}",
            lambda p: p is not None and holds(p),
            f"{name}: {what}",
            timeout_s=timeout_s,
        )
        assert found is not None
        return found

    async def first(
        self, version: str, name: str, holds: Callable[[Object], object], what: str
    ) -> Object:
        """Return the pod as it was when ``holds`` was true of it first, however short that was.

        Args:
            version: of the pods (``self.api.version``) from which on the past is looked through.
            name: of the pod.
            holds: the condition.
            what: the condition in words, for the error.

        Raises:
            WaitError: the condition did not come true.
        """
        try:
            async with (
                asyncio.timeout(WAIT_S),
                aclosing(self.api.follow(self.pods, version)) as states,
            ):
                async for found in states:
                    if name_of(found) == name and holds(found):
                        return found
        except TimeoutError:
            pass
        raise WaitError(f"not within {WAIT_S:g} s: {name}: {what}")

    async def ready(self, name: str) -> Object:
        """Return the pod as soon as it is Ready."""
        return await self.wait(name, is_ready, "the pod is Ready")

    async def ended(self, name: str, phase: str = "Succeeded") -> Object:
        """Return the pod once it has ended, in ``phase``."""
        found = await self.wait(
            name, lambda p: p["status"].get("phase") in {"Succeeded", "Failed"}, "the pod ended"
        )
        assert found["status"]["phase"] == phase, (found["status"], self.output(found))
        return found

    async def gone(self, name: str) -> None:
        """Return once the API server does not know the pod any more."""
        await self.api.wait(f"{self.pods}/{name}", lambda p: p is None, "gone", timeout_s=WAIT_S)

    async def run(self, made: Object) -> str:
        """Create a pod of the restart policy Never, and return what it printed, once it is done."""
        await self.create(made)
        return self.output(await self.ended(name_of(made)))

    def output(self, found: Object, container: str = "c") -> str:
        """Return what all starts of one container of the pod have printed, oldest first."""
        lines = log_lines(self.edge.daemon.data_dir, found, container)
        return "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)

    async def events(self, found: Object) -> list[Object]:
        """Return the Events about the pod."""
        selector = f"involvedObject.uid={found['metadata']['uid']}"
        return await self.api.items(f"{self.base}/events?fieldSelector={selector}")

    async def event(self, found: Object, reason: str, words: str = "") -> Object:
        """Return the first Event about the pod with this reason and words, once it is there."""

        def matching(events: Object | None) -> list[Object]:
            items: list[Object] = (events or {})["items"]
            return [e for e in items if e["reason"] == reason and words in e["message"]]

        selector = f"involvedObject.uid={found['metadata']['uid']}"
        path = f"{self.base}/events?fieldSelector={selector}"
        listed = await self.api.wait(path, matching, f"{reason}: {words}", timeout_s=WAIT_S)
        return matching(listed)[0]


def pairs(text: str, separator: str = "=") -> dict[str, str]:
    """Return the lines ``key<separator>value`` of ``text``; others count as nothing."""
    lines = (line.partition(separator) for line in text.splitlines())
    return {key: value.strip() for key, found, value in lines if found}


def once(name: str, script: str, place: Place, **spec: object) -> Object:
    """Return a pod that runs ``script`` once."""
    return place.pod(name, script, restartPolicy="Never", **spec)


def status_of(found: Object, container: str = "c") -> Object:
    """Return the status of a container of the pod; {} while there is none."""
    status = found.get("status", {})
    statuses = [
        *status.get("containerStatuses", ()),
        *status.get("initContainerStatuses", ()),
    ]
    return next((s for s in statuses if s["name"] == container), {})


def state_of(found: Object, kind: str, container: str = "c") -> Object:
    """Return the details of the container's state if it is ``kind``, else {}."""
    state: Object = status_of(found, container).get("state", {}).get(kind) or {}
    return state


def last_end(found: Object, container: str = "c") -> Object:
    """Return how the container ended the time before; {} if it did not."""
    ended: Object = status_of(found, container).get("lastState", {}).get("terminated") or {}
    return ended


def conditions(found: Object) -> dict[str, str]:
    """Return the status of each of the pod's conditions."""
    return {c["type"]: c["status"] for c in found["status"].get("conditions", ())}
