"""What happens in a schedule: people's changes, and faults, drawn from a seed."""

import base64
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind
from common.names import EDGE_NODE_LABEL, NodeID
from tests.simulation.apiserver import Key, Object, Snapshot
from tests.simulation.apitransport import Outcome
from tests.simulation.network import Weather

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMESPACES: Final = ("default", "shop")
PAUSES_S: Final = (0, 0, 0, 0.002, 0.01, 0.05, 0.2, 0.5, 1, 1, 2, 3, 5, 8, 12, 25)

_LARGE_BYTES: Final = 24_000

Deed = Callable[[], str]


class Fate:
    """Chooses and does, one thing after the other."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world, self._rng = world, rng
        self._snapshot: Snapshot | None = None
        has_restores = rng.random() < 0.3
        self._deeds: Sequence[tuple[int, Deed]] = (
            (22, self._config),
            (10, self._secret),
            (24, self._pod),
            (4, self._service),
            (3, self._slice),
            (4, self._bind),
            (6, self._node),
            (3, self._burst),
            (6, self._flurry),
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
            (3 if has_restores else 0, self._backup),
            (3 if has_restores else 0, self._restore),
        )

    def pause_s(self) -> float:
        """Return how long nothing happens before the next deed."""
        return self._rng.choice(PAUSES_S) * (0.5 + self._rng.random())

    def act(self) -> str:
        """Do something and return what."""
        weights = [weight for weight, _ in self._deeds]
        (deed,) = self._rng.choices([deed for _, deed in self._deeds], weights)
        return deed()

    # --- people ----------------------------------------------------------------------------------

    def _config(self) -> str:
        return self._change(kinds.CONFIGMAPS, "c", 5, lambda _: self._config_data())

    def _secret(self) -> str:
        return self._change(kinds.SECRETS, "s", 3, lambda _: self._secret_data())

    def _service(self) -> str:
        port = {"port": self._rng.randrange(1, 60000)}
        return self._change(kinds.SERVICES, "v", 3, lambda _: {"spec": {"ports": [port]}})

    def _slice(self) -> str:
        service = f"v{self._rng.randrange(3)}"

        def data(namespace: str) -> Object:
            pods = [k for k, _ in self._world.api.of_kind(kinds.PODS) if k.namespace == namespace]
            chosen = self._rng.sample(pods, min(len(pods), 2))
            endpoints = [
                {
                    "addresses": [f"198.18.0.{number}"],
                    "targetRef": {"kind": "Pod", "namespace": namespace, "name": key.name},
                }
                for number, key in enumerate(chosen)
            ]
            return {"endpoints": endpoints}

        labels = {"kubernetes.io/service-name": service}
        return self._change(kinds.ENDPOINT_SLICES, "e", 2, data, labels)

    def _change(
        self,
        kind: ResourceKind,
        prefix: str,
        count: int,
        data: Callable[[str], Object],
        labels: Object | None = None,
    ) -> str:
        """Create, change or delete one of a few objects."""
        api, name = self._world.api, f"{prefix}{self._rng.randrange(count)}"
        key = Key(kind.plural, self._rng.choice(NAMESPACES), name)
        if api.get(key) is None:
            metadata = {"name": name, "namespace": key.namespace, "labels": labels or {}}
            api.create(kind, {"metadata": metadata, **data(key.namespace)})
            return f"create {key}"
        if self._rng.random() < 0.25:
            api.delete(key)
            return f"delete {key}"
        api.change(key, lambda obj: obj.update(data(key.namespace)))
        return f"change {key}"

    def _config_data(self) -> Object:
        kind = self._rng.random()
        if kind < 0.08:
            noise = base64.b64encode(self._rng.randbytes(_LARGE_BYTES)).decode()
            return {"data": {"noise": noise}}
        if kind < 0.2:
            return {"data": {"text": f"{self._rng.random()} " * 400}}
        return {"data": {"value": str(self._rng.random())}}

    def _secret_data(self) -> Object:
        return {"data": {"key": base64.b64encode(self._rng.randbytes(24)).decode()}}

    def _burst(self) -> str:
        """Change one ConfigMap many times."""
        found = list(self._world.api.of_kind(kinds.CONFIGMAPS))
        if not found:
            return "nothing to burst"
        key = self._rng.choice(found)[0]
        for _ in range(self._rng.randrange(5, 25)):
            self._world.api.change(key, lambda obj: obj.update(self._config_data()))
        return f"burst of changes to {key}"

    def _flurry(self) -> str:
        """Change a pod or what it names and delete it soon, on a link that repeats itself."""
        api, rng = self._world.api, self._rng
        bound = [k for k, pod in api.of_kind(kinds.PODS) if pod["spec"].get("nodeName")]
        if not bound:
            return "nothing to hurry"
        pod = rng.choice(bound)
        node = NodeID(api.objects[pod]["spec"]["nodeName"])
        named = [
            Key("configmaps", pod.namespace, volume["configMap"]["name"])
            for volume in api.objects[pod]["spec"]["volumes"]
            if "configMap" in volume
        ]
        key = rng.choice([pod, *(one for one in named if api.get(one) is not None)])
        self._world.network.weather[node].repeats = 0.7

        def change() -> None:
            if api.get(key) is not None:
                api.change(key, lambda obj: obj["metadata"].update(labels={"x": str(rng.random())}))

        def end() -> None:
            if api.get(key) is not None:
                api.delete(key, grace_s=0)

        moments = sorted(rng.random() * 1.5 for _ in range(3))
        for moment in moments[:-1]:
            self._world.later(moment, change)
        self._world.later(moments[-1], end)
        return f"flurry around {key} on {node}"

    def _pod(self) -> str:
        world, rng = self._world, self._rng
        key = Key("pods", rng.choice(NAMESPACES), f"p{rng.randrange(4)}")
        pod = world.api.get(key)
        if pod is None:
            return self._create_pod(key)
        deed = rng.choices(("delete", "force", "replace", "label", "scribble"), (8, 3, 4, 5, 2))[0]
        match deed:
            case "delete":
                world.api.delete(key)
            case "force":
                world.api.delete(key, grace_s=0)
            case "replace":
                world.api.delete(key, grace_s=0)
                return f"replace: {self._create_pod(key)}"
            case "label":
                labels = {"revision": str(rng.random())}
                world.api.change(key, lambda obj: obj["metadata"].update(labels=labels))
            case "scribble":
                world.api.change(key, lambda obj: obj["status"].update(phase="Pending"))
        return f"{deed} {key} of {pod['spec'].get('nodeName')}"

    def _create_pod(self, key: Key) -> str:
        rng = self._rng
        volumes: list[Object] = [
            {"name": f"c{n}", "configMap": {"name": f"c{n}", "optional": rng.random() < 0.5}}
            for n in rng.sample(range(5), rng.randrange(3))
        ]
        volumes += [
            {"name": f"s{n}", "secret": {"secretName": f"s{n}", "optional": rng.random() < 0.5}}
            for n in rng.sample(range(3), rng.randrange(2))
        ]
        spec: Object = {
            "containers": [{"name": "c", "image": "busybox"}],
            "volumes": volumes,
            "terminationGracePeriodSeconds": rng.choice((0, 1, 30)),
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
        }
        if rng.random() < 0.8:
            spec["nodeName"] = rng.choice(self._world.nodes)
        metadata = {"name": key.name, "namespace": key.namespace}
        self._world.api.create(kinds.PODS, {"metadata": metadata, "spec": spec})
        return f"create {key} on {spec.get('nodeName')}, names {[v['name'] for v in volumes]}"

    def _bind(self) -> str:
        api = self._world.api
        unbound = [k for k, pod in api.of_kind(kinds.PODS) if not pod["spec"].get("nodeName")]
        if not unbound:
            return "nothing to bind"
        key, node = self._rng.choice(unbound), self._rng.choice(self._world.nodes)
        api.change(key, lambda pod: pod["spec"].update(nodeName=node))
        return f"bind {key} to {node}"

    def _node(self) -> str:
        api, rng = self._world.api, self._rng
        node = rng.choice(self._world.nodes)
        key = Key("nodes", "", node)
        if (obj := api.get(key)) is None:
            return f"nothing: there is no Node {node}"
        deed = rng.choices(("label", "edge", "delete"), (3, 6, 2))[0]
        match deed:
            case "label":
                labels = {**obj["metadata"]["labels"], "zone": str(rng.random())}
                api.change(key, lambda obj: obj["metadata"].update(labels=labels))
            case "edge":
                labels = dict(obj["metadata"]["labels"])
                if EDGE_NODE_LABEL in labels:
                    del labels[EDGE_NODE_LABEL]
                else:
                    labels[EDGE_NODE_LABEL] = ""
                api.change(key, lambda obj: obj["metadata"].update(labels=labels))
                deed = f"edge {EDGE_NODE_LABEL in labels}"
            case "delete":
                api.delete(key)
        return f"{deed} Node {node}"

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
