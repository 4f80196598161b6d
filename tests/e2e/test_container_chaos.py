"""P5 on real containers: however edgecore is cut off, exactly the wanted containers are there.

Real: containerd with runc and a bridge network; in the random test also control plane, cloudcore
and an edgecore that is killed. What happens there is random by a seed, which a failure shows;
``CHAOS_SEED`` and ``CHAOS_STEPS`` repeat or lengthen a run.

In the others edged runs in the test process, with ``World`` for everything behind it, so that it
can be cut off at each call of the engine: ``Knife`` stands between the two.
"""

import asyncio
import contextlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest

from deploy.devcluster import remains
from deploy.devcluster.api import Api, ApiError, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.site import Edge, is_ready
from edgecore.edged import orphans
from edgecore.edged.podview import spec_hash
from edgecore.edged.runtime.cri import methods, runtime
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.methods import Method, Request, Response
from edgecore.edged.runtime.cri.refusals import unanswered
from tests.e2e.conftest import Join, pod
from tests.e2e.engineview import EngineView, Found, Look, engine_view
from tests.e2e.podchecks import OBEY
from tests.edgecore.edged.world import World, container, edge, pod_object

SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
STEPS = int(os.environ.get("CHAOS_STEPS", "40"))
NAMES = [f"x{number}" for number in range(5)]
IMAGES = ["busybox", "named", "docker.io/library/guest:latest"]
LONGEST_PAUSE_S = 0.4
KILLS_EVERY_S = (0.1, 1.5)
CONVERGED_S = 60.0
LOOK_EVERY_S = 0.02
LONGEST_CALL_S = 0.15
LEAST_CALLS = 3
KEPT_ATTEMPTS = 2

CHANGING = frozenset(
    {
        methods.RUN_SANDBOX,
        methods.STOP_SANDBOX,
        methods.REMOVE_SANDBOX,
        methods.CREATE_CONTAINER,
        methods.START_CONTAINER,
        methods.STOP_CONTAINER,
        methods.REMOVE_CONTAINER,
    }
)


class Chaos:
    """An edge to which random things happen while it is killed again and again."""

    def __init__(self, api: Api, edge: Edge, namespace: str) -> None:
        self._api, self._edge = api, edge
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._random = random.Random(SEED)
        self.kills = 0
        self._steps: list[tuple[int, Callable[[str], Awaitable[None]]]] = [
            (6, self._create),
            (2, self._delete),
            (1, self._force_delete),
            (2, self._label),
            (3, self._change_image),
        ]

    async def run(self) -> None:
        weights = [weight for weight, _ in self._steps]
        for _ in range(STEPS):
            [(_, step)] = self._random.choices(self._steps, weights)
            try:
                await step(self._random.choice(NAMES))
            except ApiError as error:
                # Not there, or just taken away by its edge: looking first would not exclude that.
                if error.code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
                    raise
            await asyncio.sleep(self._random.uniform(0, LONGEST_PAUSE_S))

    async def kill(self) -> None:
        """Kill edgecore at random moments, until cancelled; it runs then."""
        moments = random.Random(SEED + 1)
        while True:
            await asyncio.sleep(moments.uniform(*KILLS_EVERY_S))
            self._edge.daemon.kill()
            self.kills += 1
            await self._edge.daemon.start()

    async def wanted(self) -> list[Object]:
        """Return the pods that shall run, none of which is being deleted any more."""
        return await self._api.items(self._pods)

    async def _create(self, name: str) -> None:
        made = pod(name, self._edge.daemon.node, script=OBEY)
        second = {**made["spec"]["containers"][0], "name": "d"}
        made["spec"]["containers"].append(second)
        await self._api.create(self._pods, made)

    async def _delete(self, name: str) -> None:
        await self._api.delete(f"{self._pods}/{name}")

    async def _force_delete(self, name: str) -> None:
        await self._api.delete(f"{self._pods}/{name}", grace_s=0)

    async def _label(self, name: str) -> None:
        label = {"at": str(self._random.random())}
        await self._api.patch(f"{self._pods}/{name}", {"metadata": {"labels": label}})

    async def _change_image(self, name: str) -> None:
        found = await self._api.get(f"{self._pods}/{name}")
        if found is not None:
            found["spec"]["containers"][0]["image"] = self._random.choice(IMAGES)
            await self._api.replace(f"{self._pods}/{name}", found)


@pytest.mark.timeout(600)
async def test_kills_at_random_moments_leave_exactly_the_wanted_containers(
    container_engine: ContainerEngine, api: Api, join: Join, namespace: str
) -> None:
    edge = await join(runtime="cri")
    chaos = Chaos(api, edge, namespace)
    async with engine_view(container_engine) as view, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch(view), name="watch")
        killing = tasks.create_task(chaos.kill(), name="kill")
        await chaos.run()
        assert chaos.kills
        killing.cancel()
        await asyncio.wait([killing])
        if edge.daemon.pid is None:
            await edge.daemon.start()
        await settled(chaos, view)
        watching.cancel()


async def watch(view: EngineView) -> None:
    """Look again and again whether anything of a pod is there twice, until cancelled."""
    while True:
        look = await view.look()
        twice = [one for one, number in Counter(look.running()).items() if number > 1]
        assert not twice, f"seed {SEED}: two live containers: {twice} in {look}"
        twice_made = [uid for uid, number in Counter(look.pods()).items() if number > 1]
        assert not twice_made, f"seed {SEED}: two live sandboxes: {twice_made} in {look}"
        await asyncio.sleep(LOOK_EVERY_S)


async def settled(chaos: Chaos, view: EngineView) -> None:
    """Return once the engine has what the API server wants, and the API server knows it."""
    deadline = asyncio.get_running_loop().time() + CONVERGED_S
    while difference := differing(await chaos.wanted(), await view.look()):
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"seed {SEED}, {STEPS} steps: {difference}")
        await asyncio.sleep(LOOK_EVERY_S)


def differing(pods: list[Object], look: Look) -> str:
    """Return how the engine differs from what is wanted of it, "" where it does not."""
    waiting = [
        one["metadata"]
        for one in pods
        if not is_ready(one) or "deletionTimestamp" in one["metadata"]
    ]
    if waiting:
        return f"not ready, or not gone: {waiting}"
    wanted = sorted(
        (one["metadata"]["uid"], container["name"], spec_hash(container))
        for one in pods
        for container in one["spec"]["containers"]
    )
    running = sorted((c.uid, c.name, c.spec_hash) for c in look.containers if c.is_live)
    if running != wanted:
        return f"wanted {wanted}, running {running}"
    uids = {uid for uid, _, _ in wanted}
    if look.pods() != sorted(uids) or {s.uid for s in look.sandboxes} != uids:
        return f"wanted {uids}, sandboxes {look.sandboxes}"
    strangers = [c for c in look.containers if c.uid not in uids]
    return f"left over: {strangers}" if strangers else ""


class Knife:
    """Cuts edgecore off from its engine at one call: the ``at``-th of those that change something.

    Before the call is sent, after it was carried out (the answer is lost), or somewhere between.
    """

    def __init__(self, at: int, moment: str, *, kills: bool) -> None:
        """Args: kills: whether edgecore dies of it; it is only the connection that is lost else."""
        self._at, self._moment, self._kills = at, moment, kills
        self._calls = 0
        self.has_cut = False

    def __str__(self) -> str:
        """Return what it does, for the message of a failure."""
        what = "edgecore is killed" if self._kills else "the line is cut"
        return f"{what} {self._moment} call {self._at} that changes something"

    @property
    def is_deadly(self) -> bool:
        """Whether edgecore is dead."""
        return self._kills and self.has_cut

    async def call(self, make: Callable[[], Awaitable[Response]], *, changes: bool) -> Response:
        """Make a call, or cut it."""
        if self.is_deadly:
            await asyncio.Event().wait()  # the dead make no calls
        self._calls += changes
        if self._calls != self._at or not changes:
            return await make()
        if self._moment == "after":
            await make()
        elif self._moment == "during":
            # Its own work tells what is a good moment: the seed makes it another one each time.
            patience_s = random.Random(SEED + self._at).uniform(0, LONGEST_CALL_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await make()
        self.has_cut = True
        if self._kills:
            await asyncio.Event().wait()
        raise unanswered("the connection is cut")


class CutClient(CriClient):
    """A client with a knife at its connection."""

    def __init__(self, knife: Knife, endpoint: str) -> None:
        super().__init__(endpoint)
        self._knife = knife

    async def call(
        self, method: Method[Request, Response], request: Request, timeout_s: float | None = None
    ) -> Response:
        whole = super().call
        return await self._knife.call(
            lambda: whole(method, request, timeout_s), changes=method in CHANGING
        )


Stage = Callable[["Life", Knife], Awaitable[None]]


class Life:
    """The life of one pod on a real engine, each stage of which can be cut."""

    def __init__(self, view: EngineView, engine: ContainerEngine, folder: Path) -> None:
        self._view, self._engine, self._folder = view, engine, folder
        init = container("init", "/bin/true") | {"image": "busybox"}
        main = container("c", "/bin/sh", "-c", OBEY) | {"image": "busybox"}
        self._stored = [pod_object("web", initContainers=[init], containers=[main])]

    async def start(self, knife: Knife) -> None:
        await self._pass(knife, self._nothing, runs)

    async def lose_container(self, knife: Knife) -> None:
        """Have the container end by itself: it is started again."""
        [before] = [c.id for c in (await self._view.look()).containers if c.is_live]

        async def lose(_: World) -> None:
            await self._kill(before)

        await self._pass(
            knife, lose, lambda look: runs(look) and before not in live_ids(look.containers)
        )

    async def lose_sandbox(self, knife: Knife) -> None:
        """Have the sandbox end by itself, as all do in a reboot: the pod gets a new one."""
        [before] = [s.id for s in (await self._view.look()).sandboxes if s.is_live]

        async def lose(_: World) -> None:
            await self._kill(before)

        await self._pass(
            knife, lose, lambda look: runs(look) and before not in live_ids(look.sandboxes)
        )

    async def delete(self, knife: Knife) -> None:
        """Have the pod deleted; an edgecore that starts later finds it in no store."""

        async def delete(world: World) -> None:
            await world.delete("web", graceful=False)
            self._stored = []

        stored = self._stored
        await self._pass(knife, delete, lambda look: not look.sandboxes and not look.containers)
        self._stored = stored

    async def _pass(
        self,
        knife: Knife,
        begin: Callable[[World], Awaitable[None]],
        is_wanted: Callable[[Look], object],
    ) -> None:
        """Run edged until it has done what is wanted; if it dies of the knife, another one."""
        async with self._edge(knife) as world:
            await begin(world)
            await self._view.until(lambda look: knife.is_deadly or is_wanted(look), f"{knife}")
        if knife.is_deadly:
            async with self._edge(Knife(0, "never", kills=False)):
                await self._view.until(is_wanted, f"{knife}, and then another edgecore")

    @asynccontextmanager
    async def _edge(self, knife: Knife) -> AsyncIterator[World]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(orphans, "SURE_S", 0.0)  # nothing comes from a cloud here
            patch.setattr(runtime, "CriClient", partial(CutClient, knife))
            cri = runtime.CriRuntime(self._engine.endpoint)
            async with edge(self._folder, cri, stored=[*self._stored]) as world:
                yield world

    async def _nothing(self, _: World) -> None:
        return

    async def _kill(self, one: str) -> None:
        await asyncio.to_thread(
            remains.run, "ctr", *self._engine.at, "tasks", "kill", "--signal", "KILL", one
        )


STAGES: tuple[Stage, ...] = (
    Life.start,
    Life.lose_container,
    Life.lose_sandbox,
    Life.delete,
)


def runs(look: Look) -> bool:
    """Whether the pod runs as it should: one sandbox, one container, and nothing half made."""
    made = Counter(c.name for c in look.containers)
    return (
        len(look.pods()) == 1
        and [name for _, name in look.running()] == ["c"]
        and all(c.state != "CONTAINER_CREATED" for c in look.containers)
        and max(made.values()) <= KEPT_ATTEMPTS
    )


def live_ids(found: tuple[Found, ...]) -> set[str]:
    return {one.id for one in found if one.is_live}


@pytest.mark.parametrize(
    ("moment", "kills"),
    [("before", True), ("during", True), ("after", True), ("after", False)],
)
@pytest.mark.timeout(240)
async def test_wherever_it_is_cut_off_it_gets_to_where_it_should(
    container_engine: ContainerEngine, tmp_path: Path, moment: str, *, kills: bool
) -> None:
    async with engine_view(container_engine) as view, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch(view), name="watch")
        life = Life(view, container_engine, tmp_path)
        was_cut = True
        at = 0
        while was_cut:
            at += 1
            was_cut = False
            for stage in STAGES:
                knife = Knife(at, moment, kills=kills)
                await stage(life, knife)
                was_cut |= knife.has_cut
        assert at > LEAST_CALLS
        watching.cancel()
