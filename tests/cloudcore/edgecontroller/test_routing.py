"""Who is told what. Pure."""

import json
from typing import Any

import msgspec
import pytest

from cloudcore.edgecontroller.location import LocationCache, NodeLocation, PodLocation
from cloudcore.edgecontroller.routing import Delivery, route
from cloudcore.kube.cache import Change, ChangeType
from cloudcore.kube.listwatch import RawObject
from cloudcore.kube.views import NodeView, ObjectKey, ObjectView, PodView, view_as
from common.names import UID, NodeID, Operation, ResourceType
from common.podrefs import PodRefs

NODE, OTHER = NodeID("n1"), NodeID("n2")
KEY = ObjectKey("a", "x")
ADDED, MODIFIED, DELETED = ChangeType
INSERT, UPDATE, DELETE = Operation.INSERT, Operation.UPDATE, Operation.DELETE


def locations() -> LocationCache:
    cache = LocationCache()
    cache.set_node(NODE, NodeLocation(UID("u")))
    names = PodRefs(configmaps=frozenset({"x"}), secrets=frozenset({"x"}))
    cache.set_pod(ObjectKey("a", "pod"), PodLocation(UID("p"), NODE, names))
    return cache


def raw(view: type[ObjectView], **rest: Any) -> RawObject:
    metadata = {"name": "x", "namespace": "a", "uid": "u", "resourceVersion": "1"}
    text = json.dumps({"metadata": metadata | rest.pop("metadata", {}), **rest}).encode()
    return RawObject(view_as(text, view), msgspec.Raw(text))


def pod(node: str = NODE, **metadata: str) -> RawObject:
    return raw(PodView, metadata=metadata, spec={"nodeName": node})


def told(resource_type: ResourceType, change: Change) -> list[tuple[str, Operation]]:
    return [(one.node, one.operation) for one in route(resource_type, change, locations())]


@pytest.mark.parametrize(
    ("change_type", "now", "before", "expected"),
    [
        (ADDED, pod(), None, [(NODE, INSERT)]),
        (ADDED, pod(deletionTimestamp="2026-11-24T00:00:00Z"), None, [(NODE, UPDATE)]),
        (MODIFIED, pod(), None, [(NODE, INSERT)]),  # bound by this very change
        (MODIFIED, pod(), pod(), [(NODE, UPDATE)]),
        (DELETED, pod(), pod(), [(NODE, DELETE)]),
        (ADDED, pod(OTHER), None, []),
        (ADDED, pod(""), None, []),
        (DELETED, None, None, []),
    ],
)
def test_a_pod_goes_to_its_node(
    change_type: ChangeType,
    now: RawObject | None,
    before: RawObject | None,
    expected: list[tuple[str, Operation]],
) -> None:
    assert told(ResourceType.POD, Change(change_type, KEY, UID("u"), now, before)) == expected


@pytest.mark.parametrize(
    ("resource_type", "change_type", "operation"),
    [
        (ResourceType.CONFIGMAP, ADDED, INSERT),
        (ResourceType.CONFIGMAP, MODIFIED, UPDATE),
        (ResourceType.CONFIGMAP, DELETED, DELETE),
        (ResourceType.SECRET, ADDED, UPDATE),
        (ResourceType.SECRET, MODIFIED, UPDATE),
        (ResourceType.SECRET, DELETED, DELETE),
        (ResourceType.SERVICE, ADDED, INSERT),
        (ResourceType.SERVICE, MODIFIED, UPDATE),
        (ResourceType.SERVICE, DELETED, DELETE),
    ],
)
def test_what_pods_need_goes_to_their_nodes(
    resource_type: ResourceType, change_type: ChangeType, operation: Operation
) -> None:
    change = Change(change_type, KEY, UID("u"), raw(ObjectView), None)
    assert route(resource_type, change, locations()) == [
        Delivery(NODE, operation, resource_type, "a", "x")
    ]
    elsewhere = Change(change_type, ObjectKey("b", "y"), UID("u"), raw(ObjectView), None)
    assert route(resource_type, elsewhere, locations()) == []


@pytest.mark.parametrize(
    ("name", "change_type", "before", "expected"),
    [
        (NODE, ADDED, None, [(NODE, UPDATE)]),
        (NODE, MODIFIED, raw(NodeView), [(NODE, UPDATE)]),
        (OTHER, MODIFIED, raw(NodeView), [(OTHER, UPDATE)]),  # it lost the label: told once more
        (OTHER, DELETED, raw(NodeView), [(OTHER, DELETE)]),
        (OTHER, ADDED, None, []),
        (OTHER, DELETED, None, []),
    ],
)
def test_a_node_goes_to_itself(
    name: str,
    change_type: ChangeType,
    before: RawObject | None,
    expected: list[tuple[str, Operation]],
) -> None:
    change = Change(change_type, ObjectKey("", name), UID("u"), raw(NodeView), before)
    assert told(ResourceType.NODE, change) == expected
    assert all(one.namespace == "null" for one in route(ResourceType.NODE, change, locations()))


def test_what_is_never_sent_is_no_question_to_ask() -> None:
    change = Change(ADDED, KEY, UID("u"), raw(ObjectView), None)
    with pytest.raises(AssertionError, match="lease"):
        route(ResourceType.LEASE, change, locations())
