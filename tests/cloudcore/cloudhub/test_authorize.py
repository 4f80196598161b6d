"""Who may ask for what. Pure; the LocationCache is the real one.

Node ``a`` tries every operation on every type, about objects that are its own, another node's,
nobody's, and of the cluster; all that is not listed here as allowed must be denied.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    return cache


@dataclass(frozen=True)
class Target:
    """Objects of one owner, under the names that their types want."""

    node: str
    pod: str
    suffix: str

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
            case _:
                return self.node

    def namespace(self, resource_type: str) -> str:
        match resource_type:
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
            case "node" | "lease":
                return raw({"metadata": {"name": name}})
            case "event":
                event = {
                    "metadata": {"name": name, "namespace": namespace},
                    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": self.pod},
                }
                if operation == Operation.PATCH:
                    return raw({"event": event, "patchData": '{"count":2}'})
                return raw(event)
            case "serviceaccounttoken":
                bound = {"kind": "Pod", "name": self.pod, "uid": f"uid-{self.pod}"}
                return raw({"spec": {"boundObjectRef": bound}})
            case "pod" if operation == Operation.INSERT:
                return raw(mirror_pod(name, self.node))
            case _:
                return NULL


OWN = Target("a", "pod-a", "a")
OTHERS = Target("b", "pod-b", "b")
NOBODYS = Target("nobody", "pod-nobody", "nobody")

ALLOWED = frozenset(
    {
        ("insert", "node"),
        ("update", "node"),
        ("query", "node"),
        ("patch", "nodepatch"),
        ("insert", "nodestatus"),
        ("update", "nodestatus"),
        ("query", "lease"),
        ("insert", "lease"),
        ("update", "lease"),
        ("query", "pod"),
        ("insert", "pod"),
        ("delete", "pod"),
        ("patch", "podpatch"),
        ("update", "podstatus"),
        ("insert", "event"),
        ("update", "event"),
        ("patch", "event"),
        ("query", "configmap"),
        ("query", "secret"),
        ("query", "persistentvolumeclaim"),
        ("query", "serviceaccounttoken"),
        ("query", "inventory"),
    }
)


def mirror_pod(name: str, node: str) -> dict[str, object]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
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


def test_a_node_may_do_what_is_listed_on_its_own_objects_and_nothing_else(
    locations: LocationCache,
) -> None:
    allowed = {(o.value, str(t)) for o, t, m in every(OWN) if authorize(A, m, locations) is None}
    assert allowed == ALLOWED


@pytest.mark.parametrize("target", [OTHERS, NOBODYS])
def test_a_node_may_do_nothing_on_objects_that_are_not_its_own(
    locations: LocationCache, target: Target
) -> None:
    # A pod of any name may be mirrored; that it is bound to this node is what counts, see below.
    allowed = [m.route for _, _, m in every(target) if authorize(A, m, locations) is None]
    assert allowed == []


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


def test_every_rule_is_for_something_that_a_node_may_do() -> None:
    assert {(o.value, str(t)) for o, t in RULES} == ALLOWED | {("query", "persistentvolume")}
