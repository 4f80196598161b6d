"""What people and controllers do at the API server while everything else goes wrong."""

import base64
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from cloudcore.kube import kinds
from cloudcore.kube.kinds import ResourceKind
from common.names import EDGE_NODE_LABEL, NodeID
from tests.simulation.apiserver import Key, Object
from tests.simulation.deeds import Deeds

if TYPE_CHECKING:
    from tests.simulation.world import World

NAMESPACES: Final = ("default", "shop")

_LARGE_BYTES: Final = 24_000


class People:
    """They use few names, so that much happens to each."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world, self._rng = world, rng

    def deeds(self) -> Deeds:
        """Return what they do, and how often one thing as against the others."""
        return (
            (22, self._config),
            (10, self._secret),
            (24, self._pod),
            (4, self._service),
            (3, self._slice),
            (4, self._bind),
            (6, self._node),
            (3, self._burst),
            (6, self._flurry),
        )

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
