"""Nodes that pods ask for: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.spec.nodeaffinity import is_tolerated, is_wanted
from tests.edgecore.edged.world import pod_object

LABELS = {"zone": "a", "cores": "4", "odd": "x"}


def requiring(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return pod_object("web", affinity={"nodeAffinity": required})


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "wanted"),
    [(None, True), ({}, True), ({"zone": "a"}, True), ({"zone": "b"}, False), ({"no": ""}, False)],
)
def test_a_node_needs_all_labels_of_the_selector(
    selector: dict[str, str] | None, *, wanted: bool
) -> None:
    assert is_wanted(pod_object("web", nodeSelector=selector), "n1", LABELS) is wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (expression("zone", "In", "a", "b"), True),
        (expression("zone", "In", "b"), False),
        (expression("no", "In", "b"), False),
        (expression("zone", "NotIn", "b"), True),
        (expression("zone", "NotIn", "a"), False),
        (expression("no", "NotIn", "a"), True),
        (expression("zone", "Exists"), True),
        (expression("no", "Exists"), False),
        (expression("zone", "DoesNotExist"), False),
        (expression("no", "DoesNotExist"), True),
        (expression("cores", "Gt", "3"), True),
        (expression("cores", "Gt", "4"), False),
        (expression("cores", "Lt", "5"), True),
        (expression("cores", "Lt", "4"), False),
        (expression("odd", "Gt", "3"), False),
        (expression("no", "Lt", "3"), False),
        (expression("cores", "Gt", "x"), False),
        (expression("zone", "Like", "a"), False),
    ],
)
def test_a_requirement_is_met_or_not(asked: dict[str, Any], *, wanted: bool) -> None:
    assert is_wanted(requiring({"matchExpressions": [asked]}), "n1", LABELS) is wanted


@pytest.mark.parametrize(
    ("terms", "wanted"),
    [
        ([], False),
        ([{}], False),
        ([{"matchFields": [expression("metadata.name", "In", "n1")]}], True),
        ([{"matchFields": [expression("metadata.name", "In", "n2")]}], False),
        (
            [
                {
                    "matchExpressions": [expression("zone", "Exists")],
                    "matchFields": [expression("metadata.name", "In", "n2")],
                },
                {"matchExpressions": [expression("zone", "Exists")]},
            ],
            True,
        ),
    ],
)
def test_one_term_is_enough_if_all_of_it_is_met(
    terms: list[dict[str, Any]], *, wanted: bool
) -> None:
    assert is_wanted(requiring(*terms), "n1", LABELS) is wanted


def test_what_is_only_preferred_is_not_judged() -> None:
    affinity: Any = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}
    assert is_wanted(pod_object("web", affinity=affinity), "n1", {})


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "operator": "Equal", "value": "w"}, False),
        ({"key": "k", "operator": "Gt", "value": "v"}, False),
    ],
)
def test_a_taint_is_tolerated_or_not(toleration: dict[str, str], *, tolerated: bool) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    assert is_tolerated(pod_object("web", tolerations=[toleration]), taint) is tolerated
    assert not is_tolerated(pod_object("web"), taint)
