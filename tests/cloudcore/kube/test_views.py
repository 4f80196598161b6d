"""Views of raw objects. Pure."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.kube.views import (
    ClaimView,
    NodeView,
    ObjectKey,
    ObjectView,
    PodView,
    SliceView,
    number_of,
    view_as,
)
from common.errors import RemoteError


def text(**rest: Any) -> bytes:
    metadata = {"name": "x", "namespace": "ns", "uid": "u", "resourceVersion": "7"}
    return json.dumps({"metadata": metadata | rest.pop("metadata", {}), **rest}).encode()


def test_every_object_has_its_metadata() -> None:
    metadata = view_as(text(kind="Pod", metadata={"labels": {"a": "b"}}), ObjectView).metadata
    assert metadata.key == ObjectKey("ns", "x")
    assert (metadata.uid, metadata.resourceVersion, metadata.labels) == ("u", "7", {"a": "b"})
    assert (metadata.generation, metadata.deletionTimestamp) == (0, None)


@given(st.binary())
def test_any_bytes_are_a_view_or_a_remote_error(data: bytes) -> None:
    with suppress(RemoteError):
        view_as(data, PodView)


def test_a_pod_tells_where_it_is_bound_to() -> None:
    assert view_as(text(spec={"nodeName": "n1"}), PodView).node == "n1"
    assert view_as(text(spec={}), PodView).node == ""


def test_a_node_tells_whether_it_is_one_of_ours_and_ready() -> None:
    labels = {"node-role.kubernetes.io/edge": ""}
    conditions = [{"type": "PIDPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
    node = view_as(text(metadata={"labels": labels}, status={"conditions": conditions}), NodeView)
    assert (node.is_edge, node.ready) == (True, "True")
    plain = view_as(text(), NodeView)
    assert (plain.is_edge, plain.ready) == (False, "Unknown")


def test_a_slice_tells_its_service_addresses_and_pods() -> None:
    endpoints = [
        {"addresses": ["192.0.2.1"], "targetRef": {"kind": "Pod", "name": "web"}},
        {"addresses": ["192.0.2.2"], "targetRef": {"kind": "Node", "name": "n1"}},
        {"addresses": ["192.0.2.3"]},
    ]
    labels = {"kubernetes.io/service-name": "front"}
    one = view_as(text(metadata={"labels": labels}, endpoints=endpoints), SliceView)
    assert one.service == ObjectKey("ns", "front")
    assert one.addresses() == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    assert one.pods() == {ObjectKey("ns", "web")}
    empty = view_as(text(endpoints=None), SliceView)
    assert empty.service is None
    assert not empty.addresses()
    assert not empty.pods()


def test_a_claim_tells_its_volume() -> None:
    assert view_as(text(spec={"volumeName": "pv-1"}), ClaimView).volume == "pv-1"
    assert view_as(text(), ClaimView).volume == ""


@pytest.mark.parametrize(("version", "number"), [("27810", 27810), ("", 0), ("x1", 0)])
def test_versions_are_numbers(version: str, number: int) -> None:
    assert number_of(version) == number
