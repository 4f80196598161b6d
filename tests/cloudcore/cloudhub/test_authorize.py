"""Who may ask for what. Pure; the LocationCache is the real one.

Node ``a`` tries every operation on every type, about objects that are its own, another node's,
that no pod names, of the cluster, and that do not exist; what becomes of each is in a table.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.cloudhub import claims
from cloudcore.cloudhub.authorize import RULES, authorize
from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.kube.views import ObjectKey
from common.beehive.message import NULL, Message, new, raw
from common.names import UID, NodeID, Operation, ResourceType
from common.podrefs import PodRefs
from common.resource import build_resource

A, B = NodeID("a"), NodeID("b")
OTHER_TYPES = ("rule", "device", "volumeattachment", "certificatesigningrequest", "endpoints", "x")
TYPES = (*ResourceType, *OTHER_TYPES)


def refs(node: str) -> PodRefs:
    return PodRefs(
        configmaps=frozenset({f"config-{node}"}),
        secrets=frozenset({f"secret-{node}"}),
        service_accounts=frozenset({f"account-{node}"}),
        claims=frozenset({f"claim-{node}"}),
    )


@pytest.fixture(scope="module")
def locations() -> LocationCache:
    cache = LocationCache()
    for node in (A, B):
        cache.set_node(node, NodeLocation(UID(f"uid-{node}")))
        cache.set_pod(
            ObjectKey("shop", f"pod-{node}"), PodLocation(UID(f"uid-pod-{node}"), node, refs(node))
        )
    for name in ("a", "b", "free"):
        cache.set_claim(ObjectKey("shop", f"claim-{name}"), f"volume-{name}")
    return cache


@dataclass(frozen=True)
class Target:
    """Objects of one owner, under the names that their types want."""

    node: str
    pod: str
    suffix: str
    space: str = ""
    """Their namespace; "" for the one in which such objects are."""

    volume: str = ""

    def name(self, resource_type: str) -> str:
        match resource_type:
            case "pod" | "podpatch" | "podstatus":
                return self.pod
            case "event":
                return f"{self.pod}.1a2b"
            case "configmap":
                return f"config-{self.suffix}"
            case "secret":
                return f"secret-{self.suffix}"
            case "serviceaccounttoken":
                return f"account-{self.suffix}"
            case "persistentvolumeclaim":
                return f"claim-{self.suffix}"
            case "persistentvolume":
                return self.volume or f"volume-{self.suffix}"
            case _:
                return self.node

    def namespace(self, resource_type: str) -> str:
        match resource_type:
            case "configmap" | "secret" | "lease" | "event" | "pod" if self.space:
                return self.space
            case "podpatch" | "podstatus" | "persistentvolumeclaim" if self.space:
                return self.space
            case "serviceaccounttoken" if self.space:
                return self.space
            case "node" | "nodepatch" | "nodestatus" | "inventory" | "persistentvolume":
                return "null"
            case "lease":
                return "kube-node-lease"
            case _:
                return "shop"

    def content(self, operation: str, resource_type: str) -> msgspec.Raw:
        """What an honest node would send about this object."""
        name, namespace = self.name(resource_type), self.namespace(resource_type)
        match resource_type:
            case "nodestatus" if operation == Operation.UPDATE:
                return raw({"UID": "u", "Status": {}})
            case "node" | "nodestatus" | "lease":
                return raw({"metadata": {"name": name}})
            case "nodepatch":
                return raw({"status": {"conditions": []}})
            case "podpatch":
                return raw({"metadata": {"uid": "u"}, "status": {"phase": "Running"}})
            case "event":
                event = {
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": {"kind": "Pod", "namespace": namespace, "name": self.pod},
                }
                if operation == Operation.PATCH:
                    return raw({"event": event, "patchData": '{"count":2}'})
                return raw(event)
            case "serviceaccounttoken":
                bound = {"kind": "Pod", "name": self.pod, "uid": f"uid-{self.pod}"}
                return raw({"spec": {"boundObjectRef": bound}})
            case "pod" if operation == Operation.INSERT:
                return raw(mirror_pod(name, self.node, namespace))
            case _:
                return NULL


OWN = Target("a", "pod-a", "a")
OTHERS = Target("b", "pod-b", "b")
NOBODYS = Target("nobody", "pod-nobody", "nobody")

UNNAMED = Target("cloud", "pod-a", "a", "other", "volume-free")
"""Objects as a node's own, but where no pod of an edge is; the Node of a machine in the cloud."""

OF_THE_CLUSTER = Target("a", "pod-a", "a", "null")
SITUATIONS = (OWN, OTHERS, UNNAMED, OF_THE_CLUSTER, NOBODYS)

EXPECTED = """
                               own    other's  unnamed  cluster  nonexistent
insert node                    yes    403      403      yes      403
update node                    yes    403      403      yes      403
query  node                    yes    403      403      yes      403
patch  nodepatch               yes    403      403      yes      403
insert nodestatus              yes    403      403      yes      403
update nodestatus              yes    403      403      yes      403
query  lease                   yes    403      403      403      403
insert lease                   yes    403      403      403      403
update lease                   yes    403      403      403      403
query  pod                     yes    403      404      404      404
insert pod                     yes    403      403      403      403
delete pod                     yes    403      404      404      404
patch  podpatch                yes    403      404      404      404
update podstatus               yes    403      404      404      404
insert event                   yes    403      403      403      403
update event                   yes    403      403      403      403
patch  event                   yes    403      403      403      403
query  configmap               yes    403      403      403      403
query  secret                  yes    403      403      403      403
query  persistentvolume        yes    403      403      yes      403
query  persistentvolumeclaim   yes    403      403      403      403
query  serviceaccounttoken     yes    403      403      403      403
query  inventory               yes    403      403      yes      403
"""
"""Node, inventory and volume are the cluster's anyway."""

NOT_AN_OPERATION = 405
NOT_SERVED = 403
ROWS = [line.split() for line in EXPECTED.splitlines()[2:]]
ALLOWED = frozenset((operation, resource_type) for operation, resource_type, *_ in ROWS)
SERVED = frozenset(resource_type for _, resource_type in ALLOWED)


def mirror_pod(name: str, node: str, namespace: str = "shop") -> dict[str, object]:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"kubernetes.io/config.mirror": "hash"},
        },
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
    }


def attempt(operation: Operation, resource: str, content: msgspec.Raw = NULL) -> Message:
    return new("edged", "meta", operation, resource, content)


def every(target: Target) -> Iterator[tuple[Operation, str, Message]]:
    for operation in Operation:
        for resource_type in TYPES:
            resource = build_resource(
                "",
                target.namespace(resource_type),
                resource_type,
                target.name(resource_type),
                edge_site=True,
            )
            content = target.content(operation, resource_type)
            yield operation, resource_type, attempt(operation, resource, content)


def expected(column: int) -> dict[tuple[str, str], int]:
    """What every operation on every type comes to: what is in no row is denied."""
    codes = {
        (operation.value, str(resource_type)): (
            NOT_AN_OPERATION if resource_type in SERVED else NOT_SERVED
        )
        for operation in Operation
        for resource_type in TYPES
    }
    for operation, resource_type, *row in ROWS:
        assert (operation, resource_type) in codes
        codes[operation, resource_type] = 0 if row[column] == "yes" else int(row[column])
    return codes


@pytest.mark.parametrize("column", range(len(SITUATIONS)))
def test_every_operation_on_every_type_comes_to_what_the_table_says(
    locations: LocationCache, column: int
) -> None:
    tried = {
        (o.value, str(t)): code(authorize(A, m, locations)) for o, t, m in every(SITUATIONS[column])
    }
    assert tried == expected(column)


def test_every_refusal_tells_why(locations: LocationCache) -> None:
    for target in SITUATIONS:
        for operation, resource_type, message in every(target):
            refusal = authorize(A, message, locations)
            if refusal is not None:
                assert refusal.message
                assert resource_type in refusal.message or refusal.code == 404, operation


def test_a_node_that_was_never_heard_of_may_only_introduce_itself(
    locations: LocationCache,
) -> None:
    stranger = NodeID("nobody")
    allowed = {
        (o.value, str(t)) for o, t, m in every(NOBODYS) if authorize(stranger, m, locations) is None
    }
    about_itself = {"node", "nodepatch", "nodestatus", "lease", "inventory"}
    assert allowed == {(o, t) for o, t in ALLOWED if t in about_itself} | {("insert", "pod")}


@pytest.mark.parametrize("resource_type", TYPES)
@pytest.mark.parametrize("namespace", ["null", "shop", "kube-system"])
def test_no_type_is_reached_as_a_whole(
    locations: LocationCache, resource_type: str, namespace: str
) -> None:
    for operation in Operation:
        message = attempt(operation, f"{namespace}/{resource_type}", raw([{"Name": "pod-b"}]))
        assert authorize(A, message, locations) is not None


@given(st.text(max_size=40), st.sampled_from(Operation))
def test_any_other_resource_is_refused_and_never_an_exception(
    resource: str, operation: Operation
) -> None:
    cache = LocationCache()
    status = authorize(A, attempt(operation, resource), cache)
    is_about_itself = resource.endswith("/a") or resource == "k8s/ca.crt"
    assert status is not None or is_about_itself


def test_the_clusters_authority_may_be_asked_for_but_not_changed(locations: LocationCache) -> None:
    assert authorize(A, attempt(Operation.QUERY, "k8s/ca.crt"), locations) is None
    for operation in (Operation.UPDATE, Operation.INSERT, Operation.DELETE):
        assert authorize(A, attempt(operation, "k8s/ca.crt"), locations) is not None


def code(status: object) -> int:
    return getattr(status, "code", 0)


def test_refusals_have_the_code_that_tells_the_edge_what_to_make_of_it(
    locations: LocationCache,
) -> None:
    def tried(operation: Operation, resource: str, content: msgspec.Raw = NULL) -> int:
        return code(authorize(A, attempt(operation, resource, content), locations))

    assert tried(Operation.QUERY, "shop/secret/secret-b") == 403
    assert tried(Operation.PATCH, "shop/podpatch/pod-b") == 403
    assert tried(Operation.PATCH, "shop/podpatch/gone") == 404
    assert tried(Operation.UPLOAD, "shop/pod/pod-a") == 405
    assert tried(Operation.QUERY, "shop") == 400
    assert tried(Operation.INSERT, "null/node/a", raw("no object")) == 400


@pytest.mark.parametrize(
    "content",
    [
        {"metadata": {"uid": "u", "labels": {"app": "web"}}},
        {"metadata": {"uid": "u", "finalizers": ["a/b"]}},
        {"metadata": {"uid": "u", "annotations": None}},
        {"metadata": {"uid": "u"}, "spec": {}},
        {"metadata": {"uid": "u"}, "$patch": "delete"},
        [],
    ],
)
def test_a_patch_of_a_pod_reaches_its_status_only(
    content: object, locations: LocationCache
) -> None:
    def tried(what: object) -> int:
        return code(
            authorize(A, attempt(Operation.PATCH, "shop/podpatch/pod-a", raw(what)), locations)
        )

    assert tried(content) == 400
    assert tried({"metadata": {"uid": "u"}, "status": {"phase": "Running", "x": [1]}}) == 0


def test_an_object_is_the_one_that_the_resource_names(locations: LocationCache) -> None:
    for resource in ("null/node/a", "kube-node-lease/lease/a"):
        message = attempt(Operation.UPDATE, resource, raw({"metadata": {"name": "b"}}))
        assert code(authorize(A, message, locations)) == 403
    elsewhere = raw({"metadata": {"name": "a", "namespace": "kube-system"}})
    lease = attempt(Operation.UPDATE, "kube-node-lease/lease/a", elsewhere)
    assert code(authorize(A, lease, locations)) == 403
    other_namespace = attempt(Operation.QUERY, "kube-system/lease/a")
    assert code(authorize(A, other_namespace, locations)) == 403


def test_pod_statuses_in_a_list_are_judged_one_by_one(locations: LocationCache) -> None:
    def statuses(*names: str) -> Message:
        return attempt(Operation.UPDATE, "shop/podstatus", raw([{"Name": name} for name in names]))

    assert authorize(A, statuses("pod-a"), locations) is None
    assert code(authorize(A, statuses("pod-a", "pod-b"), locations)) == 403
    assert code(authorize(A, statuses("pod-a", "gone"), locations)) == 404
    assert code(authorize(A, statuses("pod-a", ""), locations)) == 403


@pytest.mark.parametrize(
    "bound",
    [
        None,
        {"kind": "Secret", "name": "pod-a", "uid": "uid-pod-a"},
        {"kind": "Pod", "name": "pod-b", "uid": "uid-pod-b"},
        {"kind": "Pod", "name": "pod-a", "uid": "another"},
        {"kind": "Pod", "name": "pod-a"},
        {"kind": "Pod", "name": "", "uid": ""},
    ],
)
def test_a_token_is_bound_to_a_pod_of_the_node(
    locations: LocationCache, bound: dict[str, str] | None
) -> None:
    content = raw({"spec": {"boundObjectRef": bound}})
    message = attempt(Operation.QUERY, "shop/serviceaccounttoken/account-a", content)
    assert code(authorize(A, message, locations)) == 403


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("a.1a2b", {"kind": "Node", "name": "a"}),
        ("a.1a2b", {"kind": "Node", "name": "a", "uid": "a"}),
    ],
)
def test_a_node_tells_events_about_itself(
    locations: LocationCache, name: str, about: dict[str, str]
) -> None:
    event = {"metadata": {"name": name, "namespace": "default"}, "involvedObject": about}
    message = attempt(Operation.INSERT, f"default/event/{name}", raw(event))
    assert authorize(A, message, locations) is None


@pytest.mark.parametrize(
    ("name", "about", "metadata_name"),
    [
        ("b.1a2b", {"kind": "Node", "name": "b"}, None),
        ("b.1a2b", {"kind": "Node", "name": "a"}, None),
        ("a.1a2b", {"kind": "Node", "name": "a", "namespace": "shop"}, None),
        ("pod-b.1a2b", {"kind": "Pod", "name": "pod-b", "namespace": "shop"}, None),
        ("pod-a.1a2b", {"kind": "Pod", "name": "pod-a", "namespace": "other"}, None),
        ("pod-a.b.1a2b", {"kind": "Pod", "name": "pod-a", "namespace": "shop"}, None),
        ("pod-a.", {"kind": "Pod", "name": "pod-a", "namespace": "shop"}, None),
        ("pod-a.1a2b", {"kind": "Pod", "name": "pod-a", "namespace": "shop"}, "pod-b.1a2b"),
        ("secret-a.1a2b", {"kind": "Secret", "name": "secret-a", "namespace": "shop"}, None),
    ],
)
def test_a_node_tells_no_events_about_others_or_under_others_names(
    locations: LocationCache, name: str, about: dict[str, str], metadata_name: str | None
) -> None:
    event = {
        "metadata": {"name": metadata_name or name, "namespace": "shop"},
        "involvedObject": about,
    }
    message = attempt(Operation.INSERT, f"shop/event/{name}", raw(event))
    assert code(authorize(A, message, locations)) == 403


@pytest.mark.parametrize(
    ("operation", "resource", "content"),
    [
        ("insert", "null/node/a", {"labels": {"node-restriction.kubernetes.io/x": ""}}),
        ("insert", "default/nodestatus/a", {"labels": {"node-role.kubernetes.io/master": ""}}),
        ("patch", "null/nodepatch/a", {"labels": {"node-role.kubernetes.io/edge": None}}),
        ("patch", "null/nodepatch/a", {"labels": {"k8s.io/x": ""}}),
        ("patch", "null/nodepatch/a", {"ownerReferences": []}),
    ],
)
def test_a_node_says_no_more_of_itself_than_noderestriction_allows(
    locations: LocationCache, operation: str, resource: str, content: dict[str, object]
) -> None:
    change = raw({"metadata": {"name": "a", **content}})
    refusal = authorize(A, attempt(Operation(operation), resource, change), locations)
    assert refusal is not None
    assert refusal.code == 403
    assert refusal.message.startswith(f"node a may not {operation} ")


def test_a_node_registers_with_the_labels_of_an_edge_and_taints(locations: LocationCache) -> None:
    labels = {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": "", "site": "x"}
    taints = [{"key": "gpu", "effect": "NoSchedule"}]
    node = raw({"metadata": {"name": "a", "labels": labels}, "spec": {"taints": taints}})
    assert authorize(A, attempt(Operation.INSERT, "null/node/a", node), locations) is None
    patch = attempt(Operation.PATCH, "null/nodepatch/a", raw({"spec": {"taints": taints}}))
    assert code(authorize(A, patch, locations)) == 403


@pytest.mark.parametrize("resource", ["null/nodepatch/a", "null/node/a"])
def test_a_node_that_is_no_object_or_too_large_is_refused(
    locations: LocationCache, resource: str
) -> None:
    operation = Operation.PATCH if "nodepatch" in resource else Operation.INSERT
    large: object = {"metadata": {"name": "a", "annotations": {"x": "y" * claims.MAX_NODE_BYTES}}}
    for content in (large, [], "text", 7):
        assert code(authorize(A, attempt(operation, resource, raw(content)), locations)) == 400


def test_every_rule_is_for_something_that_a_node_may_do() -> None:
    assert {(o.value, str(t)) for o, t in RULES} == ALLOWED
