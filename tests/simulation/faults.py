"""What befalls links, daemons, disks and the API server."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from common.names import NodeID
from tests.simulation.apiserver import Snapshot
from tests.simulation.apitransport import Outcome
from tests.simulation.deeds import Deeds
from tests.simulation.network import Weather

if TYPE_CHECKING:
    from tests.simulation.world import World


class Faults:
    """Most of them end by themselves after a while."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._snapshot: Snapshot | None = None
        self._restores = 3 if rng.random() < 0.3 else 0

    def deeds(self) -> Deeds:
        """Return what happens, and how often one thing as against the others."""
        return (
            (5, self._cut),
            (4, self._mute),
            (4, self._weather),
            (4, self._mix),
            (4, self._kill_edge),
            (3, self._kill_at_commit),
            (2, self._stop_edge),
            (4, self._kill_cloud),
            (2, self._stop_cloud),
            (4, self._disk_fault),
            (2, self._disk_full),
            (3, self._api_away),
            (3, self._watches),
            (2, self._compact),
            (3, self._lag),
            (3, self._ambiguous),
            (self._restores, self._backup),
            (self._restores, self._restore),
        )

    # --- links -----------------------------------------------------------------------------------

    def _some_node(self) -> tuple[NodeID, Weather]:
        node = self._rng.choice(self._world.nodes)
        return node, self._world.network.weather[node]

    def _later(self, seconds: float, deed: Callable[[], object]) -> None:
        self._world.later(seconds * (0.3 + 1.4 * self._rng.random()), deed)

    def _cut(self) -> str:
        node, weather = self._some_node()
        self._world.network.cut(node)
        if self._rng.random() < 0.5:
            weather.is_cut = True
            self._later(self._rng.choice((2, 20, 90)), lambda: setattr(weather, "is_cut", False))
        return f"cut {node}, lasting: {weather.is_cut}"

    def _mute(self) -> str:
        node, weather = self._some_node()
        weather.is_mute = True
        self._world.network.changed(node)

        def end() -> None:
            weather.is_mute = False
            self._world.network.changed(node)

        duration_s = self._rng.choice((1, 5, 15, 30, 90))
        self._later(duration_s, end)
        return f"half-open {node} for about {duration_s} s"

    def _weather(self) -> str:
        node, weather = self._some_node()
        rng = self._rng
        weather.latency_s = rng.choice((0.001, 0.01, 0.1, 0.5))
        weather.jitter_s = rng.choice((0.0, 0.01, 0.2))
        weather.bytes_per_s = rng.choice((0, 0, 0, 8000, 50_000))
        return f"weather of {node}: {weather}"

    def _mix(self) -> str:
        node, weather = self._some_node()
        weather.repeats = self._rng.choice((0.0, 0.1, 0.5))
        weather.mixes = self._rng.choice((0.0, 0.1, 0.5))
        return f"mix {node}: repeats {weather.repeats}, mixes {weather.mixes}"

    # --- daemons ---------------------------------------------------------------------------------

    def _kill_edge(self) -> str:
        edge = self._rng.choice(self._world.edges)
        self._world.kill_edge(edge, self._rng.choice((0.5, 5, 40)))
        return f"kill edgecore of {edge.node}"

    def _kill_at_commit(self) -> str:
        edge = self._rng.choice(self._world.edges)
        moment = self._rng.choice(("before_commit", "after_commit"))
        setattr(edge.disk, moment, lambda: self._world.kill_edge(edge, 1.0))
        return f"edgecore of {edge.node} is killed {moment.replace('_', ' its next ')}"

    def _stop_edge(self) -> str:
        edge = self._rng.choice(self._world.edges)
        edge.stop.set()
        return f"stop edgecore of {edge.node}"

    def _kill_cloud(self) -> str:
        number = self._rng.randrange(len(self._world.clouds))
        self._world.kill_cloud(number, self._rng.choice((0.5, 5, 40)))
        return f"kill cloudcore {number}"

    def _stop_cloud(self) -> str:
        number = self._rng.randrange(len(self._world.clouds))
        self._world.clouds[number].stop.set()
        return f"stop cloudcore {number}"

    # --- disks -----------------------------------------------------------------------------------

    def _disk_fault(self) -> str:
        edge = self._rng.choice(self._world.edges)
        edge.disk.fails_in = self._rng.randrange(1, 12)
        return f"disk of {edge.node} fails at statement {edge.disk.fails_in} from now"

    def _disk_full(self) -> str:
        edge = self._rng.choice(self._world.edges)
        edge.disk.is_full = True
        self._later(self._rng.choice((2, 20, 60)), lambda: setattr(edge.disk, "is_full", False))
        return f"disk of {edge.node} is full"

    # --- the API server --------------------------------------------------------------------------

    def _api_away(self) -> str:
        duration_s = self._rng.choice((1, 10, 60, 600))
        self._world.link.down()
        self._later(duration_s, lambda: setattr(self._world.link, "is_up", True))
        return f"the API server goes away for about {duration_s} s"

    def _watches(self) -> str:
        link = self._world.link
        if self._rng.random() < 0.6:
            link.break_watches()
            return "all watches break"
        link.is_mute = True

        def end() -> None:
            link.is_mute = False
            link.notify()

        self._later(self._rng.choice((10, 200)), end)
        return "all watches hang"

    def _compact(self) -> str:
        self._world.api.compact()
        if self._rng.random() < 0.7:
            self._world.link.break_watches()
        return "etcd is compacted"

    def _lag(self) -> str:
        plural = self._rng.choice(("pods", "nodes", "configmaps", "secrets", "services"))
        lag_s = self._rng.choice((0.0, 0.3, 3.0))
        self._world.link.lags_s[plural] = lag_s
        return f"watches of {plural} lag {lag_s} s"

    def _ambiguous(self) -> str:
        outcomes = [
            self._rng.choice((Outcome.REFUSED, Outcome.LOST, Outcome.BUSY))
            for _ in range(self._rng.randrange(1, 4))
        ]
        self._world.link.next_outcomes += outcomes
        return f"the next writes: {outcomes}"

    def _backup(self) -> str:
        self._snapshot = self._world.api.snapshot()
        return f"backup at {self._snapshot.revision}"

    def _restore(self) -> str:
        if self._snapshot is None:
            return "nothing to restore"
        self._world.restore(self._snapshot)
        self._later(2, lambda: setattr(self._world.link, "is_up", True))
        return f"restore to {self._snapshot.revision}"
