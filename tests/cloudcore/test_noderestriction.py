"""What a node may say of its own Node. Pure. Nothing is faked."""

from typing import Any

import pytest

from cloudcore.noderestriction import (
    may_label_itself,
    patch_fault,
    registration_fault,
    update_fault,
)
from common.names import AGENT_NODE_LABEL, EDGE_NODE_LABEL

ROLE = "node-role.kubernetes.io/control-plane"
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}


def node(labels: object = None, **spec: object) -> dict[str, Any]:
    return {"metadata": {"name": "a", "labels": labels}, "spec": spec}


@pytest.mark.parametrize(
    "label",
    [
        "site",
        "example.com/site",
        "notkubernetes.io/x",
        "kubernetes.io.example.com/x",
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/instance-type",
        "kubelet.kubernetes.io/x",
        "x.node.kubernetes.io/y",
    ],
)
def test_a_node_may_put_a_label_on_itself_by_which_nobody_trusts_it(label: str) -> None:
    assert may_label_itself(label)
    assert registration_fault(node({label: "v"})) == ""
    assert patch_fault(node({label: "v"})) == ""
    assert patch_fault(node({label: None})) == ""
    assert update_fault(node({label: "v"}), node({label: "w"})) == ""


@pytest.mark.parametrize(
    "label",
    [
        ROLE,
        "node-restriction.kubernetes.io/zone",
        "x.node-restriction.kubernetes.io/zone",
        "kubernetes.io/x",
        "kubernetes.io/role",
        "k8s.io/x",
        "x.k8s.io/y",
        "topology.kubernetes.io/rack",
        "notnode.kubernetes.io/x",
        "$patch",
    ],
)
def test_a_label_that_administrators_choose_by_is_refused_by_its_name(label: str) -> None:
    assert not may_label_itself(label)
    for fault in (
        registration_fault(node({"site": "roof", label: "v"})),
        patch_fault(node({label: "v"})),
        patch_fault(node({label: None})),
        update_fault(node({label: "v"}), node({})),
        update_fault(node({label: "v"}), node({label: "w"})),
        update_fault(node({label: None}), node({label: "w"})),
    ):
        assert fault.startswith(f"a node may not put {label} on itself")
        assert "kubectl label node" in fault
    # It may say of itself what an administrator has said of it.
    assert update_fault(node({label: "w", "site": "x"}), node({label: "w"})) == ""


@pytest.mark.parametrize("label", [EDGE_NODE_LABEL, AGENT_NODE_LABEL])
def test_the_role_of_an_edge_is_said_at_registration_and_is_not_a_nodes_to_change(
    label: str,
) -> None:
    assert registration_fault(node({label: ""})) == ""
    assert label in patch_fault(node({label: ""}))
    assert label in patch_fault(node({label: None}))
    assert update_fault(node({label: ""}), node({label: ""})) == ""
    assert label in update_fault(node({label: ""}), node({}))
    assert label in update_fault(node({label: None}), node({label: ""}))


def test_what_cloudcore_is_told_by_annotations_it_is_not_told_by_the_node() -> None:
    def noted(value: object, name: str = "cloudedge.io/release-resync") -> dict[str, Any]:
        return {"metadata": {"name": "a", "annotations": {name: value}}}

    for value in ("true", None):
        assert "cloudedge.io/release-resync" in patch_fault(noted(value))
    assert "kubectl annotate" in registration_fault(noted("true"))
    assert update_fault(noted("true"), node())
    assert update_fault(noted("true"), noted("true")) == ""
    assert patch_fault(noted("x", "example.com/x")) == ""
    assert patch_fault(noted("replace", "$patch"))
    assert patch_fault({"metadata": {"annotations": None}})


def test_taints_are_said_at_registration_only() -> None:
    assert registration_fault(node({}, taints=[TAINT])) == ""
    assert "only when it registers" in patch_fault(node({}, taints=[TAINT]))
    assert "only when it registers" in patch_fault({"spec": {"taints": []}})
    assert "kubectl taint node" in update_fault(node({}, taints=[TAINT]), node({}))
    other = {**TAINT, "effect": "NoExecute"}
    assert update_fault(node({}, taints=[other]), node({}, taints=[TAINT])) != ""
    assert update_fault(node({}, taints=[TAINT]), node({}, taints=[TAINT])) == ""


def test_an_older_copy_of_what_controllers_have_put_on_a_node_is_no_fault() -> None:
    assert update_fault(node({}, taints=[NOT_READY]), node({})) == ""
    assert update_fault(node({}), node({}, taints=[TAINT, NOT_READY])) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"$patch": "replace", "status": {}},
        {"$patch": "delete"},
        {"metadata": {"$patch": "replace"}},
        {"metadata": {"labels": {"$patch": "replace", "site": "roof"}}},
        {"metadata": {"labels": None}},
        {"metadata": {"ownerReferences": []}},
        {"metadata": {"finalizers": ["example.com/x"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}},
        {"spec": {"unschedulable": True}},
        {"spec": {"podCIDR": "10.0.0.0/8"}},
    ],
)
def test_a_patch_reaches_no_further_than_labels_annotations_and_status(
    change: dict[str, Any],
) -> None:
    assert patch_fault(change) != ""


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        {"status": {"$setElementOrder/conditions": [{"type": "Ready"}]}},
        {"metadata": {"uid": "u", "annotations": {"example.com/x": "y"}}, "spec": {}},
        {"metadata": None, "spec": None},
    ],
)
def test_what_edges_patch_is_taken(change: dict[str, Any]) -> None:
    assert patch_fault(change) == ""


@pytest.mark.parametrize("odd", [None, [], "x", 7, {"labels": []}, {"labels": "x"}])
def test_what_has_no_form_has_no_labels(odd: object) -> None:
    strange = {"metadata": odd, "spec": {"taints": [7]}}
    assert registration_fault(strange) == ""
    assert update_fault(strange, strange) == ""


def test_a_refusal_stays_short_however_much_is_refused() -> None:
    labels = {f"k8s.io/{number}-{'x' * 300}": "" for number in range(1000)}
    assert len(registration_fault(node(labels))) < 1000
