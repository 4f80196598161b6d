"""What has to be so in the end: what each edge holds, and where all messages have gone.

By the rules of the design, not by those of the code.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from cloudcore.kube import kinds
from common.capabilities import Capabilities, Capability
from common.names import CLUSTER_SCOPE, NodeID
from edgecore.edgestore.records import StoredObject
from tests.simulation.apiserver import ApiServer, Key, Object
from tests.simulation.cloud import Cloud
from tests.simulation.edge import Edge

_INVENTORY_TYPES: Final = ("pod", "configmap", "secret", "service", "node")


class Judge:
    """Looks at everything from outside."""

    def __init__(self, api: ApiServer, edges: Sequence[Edge], clouds: Sequence[Cloud]) -> None:
        """Judge ``edges`` and ``clouds``, as they are whenever that is asked."""
        self._api, self._edges, self._clouds = api, edges, clouds

    def differences(self) -> Iterator[str]:
        """Yield what is not as it should be."""
        for edge in self._edges:
            if not edge.is_open:
                yield f"edgecore of {edge.node} does not run"
                continue
            wanted = self._wanted(edge.node)
            held = {one.key: one for one in self._held(edge)}
            for key in wanted.keys() - held.keys():
                yield f"{edge.node} lacks {key}"
            for key in held.keys() - wanted.keys():
                yield f"{edge.node} has {key} {held[key].uid}, and should not"
            for key in wanted.keys() & held.keys():
                yield from self._compare(edge.node, key, held[key], wanted[key])
            pods = {obj["metadata"]["uid"] for key, obj in wanted.items() if "/pod/" in key}
            for uid in edge.runtime.known() - pods:
                yield f"{edge.node} runs pod {uid}, and should not"
        for one, pod in self._api.of_kind(kinds.PODS):
            if "deletionTimestamp" in pod["metadata"]:
                yield f"{one} is still being deleted"
        waiting = sum(cloud.held() for cloud in self._clouds)
        if waiting:
            yield f"{waiting} wait in an outbox"

    def _compare(self, node: NodeID, key: str, held: StoredObject, obj: Object) -> Iterator[str]:
        metadata = obj["metadata"]
        has, should = (held.uid, str(held.version)), (metadata["uid"], metadata["resourceVersion"])
        if has != should:
            yield f"{node} has {key} {has}, not {should}"
        else:
            content = msgspec.json.decode(held.value)
            if {k: v for k, v in content.items() if k not in ("kind", "apiVersion")} != obj:
                yield f"{node} has another content of {key} {has}"

    def _wanted(self, node: NodeID) -> dict[str, Object]:
        """Return what an edge should hold, by the rules of the design, not of the code."""
        api = self._api
        wanted: dict[Key, str] = {Key("nodes", "", node): "node"}
        pods = {
            key: pod for key, pod in api.of_kind(kinds.PODS) if pod["spec"].get("nodeName") == node
        }
        for key, pod in pods.items():
            wanted[key] = "pod"
            for volume in pod["spec"]["volumes"]:
                if "configMap" in volume:
                    name = volume["configMap"]["name"]
                    wanted[Key("configmaps", key.namespace, name)] = "configmap"
                else:
                    name = volume["secret"]["secretName"]
                    wanted[Key("secrets", key.namespace, name)] = "secret"
        for key, _ in api.of_kind(kinds.SERVICES):
            if pods and self._is_needed(key, pods):
                wanted[key] = "service"
        return {
            f"{key.namespace or CLUSTER_SCOPE}/{kind}/{key.name}": obj
            for key, kind in wanted.items()
            if (obj := api.get(key)) is not None
        }

    def _is_needed(self, service: Key, pods: dict[Key, Object]) -> bool:
        if service.name == "kubernetes" and service.namespace == "default":
            return True
        if any(key.namespace == service.namespace for key in pods):
            return True
        behind = {
            (endpoint["targetRef"]["namespace"], endpoint["targetRef"]["name"])
            for key, one in self._api.of_kind(kinds.ENDPOINT_SLICES)
            if key.namespace == service.namespace
            and one["metadata"]["labels"].get("kubernetes.io/service-name") == service.name
            for endpoint in one["endpoints"]
        }
        return any((key.namespace, key.name) in behind for key in pods)

    def _held(self, edge: Edge) -> list[StoredObject]:
        """Read all that an edge-store has."""
        assert edge.store is not None
        return [one for kind in _INVENTORY_TYPES for one in edge.store._database.of_type(kind)]

    def broken_laws(self, capabilities: Capabilities) -> Iterator[tuple[str, str]]:
        """Yield promises and how they are broken, once everything has come to rest.

        P8: what went into the outboxes has come out of them, one way or the other. P3: no node was
        found to hold something else than it should that nobody knew of.
        """
        for cloud in self._clouds:
            offered = cloud.counted("cloudcore_messages_offered_total")
            ways = (
                cloud.counted("cloudcore_messages_acknowledged_total"),
                cloud.counted("cloudcore_messages_superseded_total"),
                cloud.counted("cloudcore_messages_dropped_total", reason="disconnected"),
                float(cloud.held()),
            )
            if offered != sum(ways):
                yield "P8", f"{cloud.daemon.name}: {offered} offered, {ways} left"
            if found := cloud.counted("cloudcore_divergence_total"):
                yield "P3", f"{cloud.daemon.name}: {found} divergences were found"
        for edge in self._edges:
            # On other links it also acknowledges answers to its queries.
            if Capability.ACKS in edge.capabilities & capabilities:
                yield from _unaccounted(edge)


def _unaccounted(edge: Edge) -> Iterator[tuple[str, str]]:
    """P8 at the edge: what came is acknowledged, or it is counted why not."""
    came = sum(
        edge.counted("edgecore_messages_received_total", operation=one)
        for one in ("insert", "update", "delete")
    )
    acknowledged = edge.counted("edgecore_messages_acknowledged_total")
    refused = edge.counted("edgecore_messages_dropped_total", reason="store_error")
    # Some of these are messages that were to go up.
    lost = edge.counted("edgecore_messages_dropped_total", reason="link_lost")
    if not 0 <= came - acknowledged - refused <= lost:
        yield "P8", f"{edge.node}: {came} came, {acknowledged}, {refused} and {lost} are known of"
