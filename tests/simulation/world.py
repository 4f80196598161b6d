"""One schedule: a cluster with its edges, what befalls it, and what is left of it in the end."""

import asyncio
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloudcore.kube import kinds
from common.capabilities import ALL, NONE, Capabilities, Capability, render
from common.errors import StoreError
from common.names import EDGE_NODE_LABEL, NodeID
from tests.simulation import determinism
from tests.simulation.apiserver import ApiServer, Object, Snapshot, Write
from tests.simulation.apitransport import ApiLink
from tests.simulation.cloud import Cloud
from tests.simulation.disk import Disk, Disks
from tests.simulation.edge import Edge
from tests.simulation.fate import Fate
from tests.simulation.faults import Faults
from tests.simulation.judge import Judge
from tests.simulation.model import Model
from tests.simulation.network import Network, Weather
from tests.simulation.people import People
from tests.simulation.virtualloop import NOBODY, Daemon, VirtualLoop

CONVERGES_S: Final = 120.0
"""After the last fault everything is in step within this time."""

QUIET_S: Final = 60.0
"""So long is watched afterwards that it stays so: each edge has said two digests by then, if the
first is another one than expected."""

LONG_QUIET_S: Final = 330.0
"""So long in some schedules: each edge has said a digest without being asked by then."""

_LONG_QUIET: Final = 0.2

_LOOK_S: Final = 2.0
_RESTART_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a schedule ended."""

    seed: int
    violations: tuple[str, ...]
    history: tuple[str, ...]
    digest: str
    """Stands for all that has happened: the same for the same seed."""

    counts: dict[str, float] = field(default_factory=dict)


class World:
    """See the module's docstring."""

    def __init__(self, seed: int, folder: Path, loop: VirtualLoop) -> None:
        self.seed, self.loop = seed, loop
        self._rng = random.Random(seed)
        self._folder = folder
        self.history: list[str] = []
        self._trace = hashlib.sha256()
        self.model = Model()
        self.api = ApiServer(loop.time)
        self.api.on_write = self._written
        self.link = ApiLink(self.api, self._stream("api"))
        self.network = Network(loop, self._stream("network"), self.model)
        self.nodes = [NodeID(f"n{number}") for number in range(self._rng.randrange(2, 4))]
        self.clouds: list[Cloud] = []
        self.edges: list[Edge] = []
        self._dead_clouds: list[Cloud] = []
        self._judge = Judge(self.api, self.edges, self.clouds)

    def _stream(self, name: str) -> random.Random:
        """Return randomness of its own, so that one part does not disturb another."""
        return random.Random(f"{self.seed}/{name}")

    # --- the schedule --------------------------------------------------------------------------

    async def run(self, steps: int) -> Verdict:
        """Live through ``steps`` deeds, then heal everything, and judge."""
        self._build()
        rng = self._stream("fate")
        fate = Fate(rng, (People(self, rng).deeds(), Faults(self, rng).deeds()))
        await asyncio.sleep(3.0)
        for number in range(steps):
            if self.model.violations:
                break
            await asyncio.sleep(fate.pause_s())
            self.note(f"{number:3} {fate.act()}")
            self._look_after_daemons()
        if not self.model.violations:
            await self._settle()
        return self.verdict()

    def note(self, text: str) -> None:
        """Write a line of the history."""
        self.history.append(f"{self.loop.time():9.3f} {text}")

    def later(self, seconds: float, deed: Callable[[], object]) -> None:
        """Do ``deed`` after a while."""
        self.loop.call_later(seconds, deed, context=NOBODY)

    def _written(self, write: Write) -> None:
        self.model.written(write)
        self.link.written(write.key.plural)

    def _build(self) -> None:
        disks = Disks()
        disks.install()
        edge_capabilities, self.network.cloud_capabilities = self._capabilities()
        self.note(
            f"edges: {len(self.nodes)}, {render(edge_capabilities) or 'no capabilities'};"
            f" cloudcores: {render(self.network.cloud_capabilities) or 'no capabilities'}"
        )
        for node in self.nodes:
            self.network.weather[node] = Weather()
            disk = Disk(self._folder / node, self._stream(f"disk {node}"))
            disks.add(disk)
            edge = Edge(node, self.network, disk, self._stream(f"edge {node}"), edge_capabilities)
            self.model.add_edge(node, lambda edge=edge: edge.disk.file)  # type: ignore[misc] # mypy does not see that edge is bound
            disk.on_commit = lambda writes, node=node: self.model.committed(node, writes)  # type: ignore[misc] # as above
            edge.runtime.on_end = lambda uid, why, node=node: self.model.ended(node, uid, why)  # type: ignore[misc] # as above
            self.edges.append(edge)
            edge.start()
        for _ in range(self._rng.choice((1, 1, 2))):
            self.clouds.append(self._start_cloud())
        self.network.sites = list(self.clouds)

    def _capabilities(self) -> tuple[Capabilities, Capabilities]:
        """Return what edges and cloudcores can do: mostly all, at times less on one side."""
        kind = self._rng.random()
        some = frozenset(one for one in Capability if self._rng.random() < 0.5)
        if kind < 0.7:
            return ALL, ALL
        if kind < 0.8:
            return NONE, ALL
        if kind < 0.9:
            return ALL, NONE
        return some, ALL

    # --- daemons -------------------------------------------------------------------------------

    def kill_edge(self, edge: Edge, away_s: float) -> None:
        """End edgecore on a machine as by SIGKILL; it is started again after ``away_s``."""
        if edge.daemon.is_alive:
            edge.kill()
            self._restart_edge(edge, away_s)

    def kill_cloud(self, number: int, away_s: float) -> None:
        """End a cloudcore as by SIGKILL; another one is started after ``away_s``."""
        cloud = self.clouds[number]
        if cloud.daemon.is_alive:
            self.loop.kill(cloud.daemon)
            self.network.died(cloud.daemon)
            self._replace_cloud(number, away_s)

    def restore(self, snapshot: Snapshot) -> None:
        """Have the API server come back from a backup; it is away until somebody says otherwise."""
        self.link.down()
        self.api.restore(snapshot)
        self.model.restored(self.api)

    def _restart_edge(self, edge: Edge, away_s: float) -> None:
        self.later(away_s, edge.start)

    def _replace_cloud(self, number: int, away_s: float) -> None:
        self._dead_clouds.append(self.clouds[number])

        def start() -> None:
            self.clouds[number] = self._start_cloud()
            self.network.sites = list(self.clouds)

        self.later(away_s, start)

    def _start_cloud(self) -> Cloud:
        cloud = Cloud(f"cloud#{len(self.clouds) + len(self._dead_clouds)}", self.link)
        self.loop.start(cloud.daemon, cloud.run())
        return cloud

    def _look_after_daemons(self) -> None:
        """Do what systemd does; and note what should not have ended."""
        for edge in self.edges:
            if edge.daemon.is_alive and edge.daemon.is_over:
                self._judge_end(edge.daemon, may_fail_by=StoreError if edge.disk.faults else None)
                edge.kill()
                self._restart_edge(edge, _RESTART_S)
        for number, cloud in enumerate(self.clouds):
            if cloud.daemon.is_alive and cloud.daemon.is_over:
                self._judge_end(cloud.daemon, may_fail_by=None)
                self.loop.kill(cloud.daemon)
                self.network.died(cloud.daemon)
                self._replace_cloud(number, _RESTART_S)

    def _judge_end(self, daemon: Daemon, may_fail_by: type[Exception] | None) -> None:
        for failure in daemon.failures:
            for leaf in determinism.leaves(failure):
                if may_fail_by is None or not isinstance(leaf, may_fail_by):
                    self.model.violated("daemon", f"{daemon.name} ended by {leaf!r}")

    # --- the end -------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Heal everything; then P3 has its time, and nothing may happen after it."""
        await self._heal()
        deadline_s = self.loop.time() + CONVERGES_S
        while (differences := list(self._judge.differences())) and not self.model.violations:
            if self.loop.time() > deadline_s:
                self.note("not in step")
                for difference in differences:
                    self.model.violated("P3", difference)
                return
            await asyncio.sleep(_LOOK_S)
            self._look_after_daemons()
        self.note("in step")
        for cloud in self.clouds:
            cloud.ask_for_digests()
        is_long = self._stream("quiet").random() < _LONG_QUIET
        await asyncio.sleep(LONG_QUIET_S if is_long else QUIET_S)
        self._look_after_daemons()
        for difference in self._judge.differences():
            self.model.violated("P3", f"later: {difference}")
        for promise, text in self._judge.broken_laws(self.network.cloud_capabilities):
            self.model.violated(promise, text)

    async def _heal(self) -> None:
        self.note("all faults end")
        is_sound = False
        while not is_sound:
            is_sound = self._is_sound()
            self.link.is_up, self.link.is_mute = True, False
            self.link.next_outcomes.clear()
            self.link.lags_s.clear()
            self.link.notify()
            for node in self.nodes:
                weather = self.network.weather[node]
                vars(weather).update(vars(Weather()))
                self.network.changed(node)
            for edge in self.edges:
                edge.disk.heal()
            for key, obj in list(self.api.of_kind(kinds.NODES)):
                if EDGE_NODE_LABEL not in obj["metadata"]["labels"]:
                    self.api.change(key, _label)
            await asyncio.sleep(1.0)
            self._look_after_daemons()
        self.note("everything runs")

    def _is_sound(self) -> bool:
        running: list[Edge | Cloud] = [*self.edges, *self.clouds]
        return (
            all(one.daemon.is_alive and not one.daemon.is_over for one in running)
            and not any(one.stop.is_set() for one in running)
            and all(edge.is_open for edge in self.edges)
            and all(edge.disk.is_sound for edge in self.edges)
            and all(weather == Weather() for weather in self.network.weather.values())
            and self.link.is_up
            and all(
                EDGE_NODE_LABEL in obj["metadata"]["labels"]
                for _, obj in self.api.of_kind(kinds.NODES)
            )
        )

    def verdict(self) -> Verdict:
        """Return how it has gone so far."""
        for line in self.history:
            self._trace.update(line.encode())
        for write in (self.api.revision, self.model.commits, self.model.acknowledged):
            self._trace.update(str(write).encode())
        return Verdict(
            self.seed,
            tuple(self.model.violations),
            tuple(self.history),
            self._trace.hexdigest()[:16],
            {
                "simulated_s": self.loop.time(),
                "acknowledged": self.model.acknowledged,
                "commits": self.model.commits,
                "checked": self.model.checked_strictly,
            },
        )


def _label(obj: Object) -> None:
    obj["metadata"]["labels"] = {**obj["metadata"]["labels"], EDGE_NODE_LABEL: ""}
