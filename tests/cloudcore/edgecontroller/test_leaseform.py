"""Leases as they are written and read. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.edgecontroller.leaseform import (
    BACKLOG,
    CLOUDCORE,
    CONNECTED_SINCE,
    SERVED_BY,
    FoundLease,
    LeaseForm,
    advanced,
    form_for,
    notes_of,
    parse_lease,
    renewal_in,
    version_in,
)
from common.names import UID, NodeID

NODE = NodeID("shop-17")
MOMENT = datetime(2026, 11, 24, 9, 31, 4, 870222, tzinfo=UTC)
FOUND = FoundLease(
    {
        "name": NODE,
        "namespace": "kube-node-lease",
        "uid": "lease-uid",
        "resourceVersion": "27810",
        "labels": {"a": "b"},
        "annotations": {"own": "note", SERVED_BY: "cloud-0/old", BACKLOG: "900"},
        "ownerReferences": [{"kind": "Node", "uid": "first"}],
        "managedFields": [{"manager": "kubelet"}],
    },
    {
        "holderIdentity": "somebody",
        "leaseDurationSeconds": 60,
        "leaseTransitions": 3,
        "renewTime": "2026-11-24T09:30:54.000000Z",
    },
)


def filled(form: LeaseForm, version: str) -> dict[str, Any]:
    return msgspec.json.decode(form.fill(version, MOMENT, 7), type=dict[str, Any])


def test_a_new_lease_belongs_to_its_node() -> None:
    assert filled(form_for(NODE, {SERVED_BY: "cloud-0/c1"}, UID("node-uid"), None), "") == {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {
            "name": NODE,
            "namespace": "kube-node-lease",
            "annotations": {SERVED_BY: "cloud-0/c1", BACKLOG: "7"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "node-uid"}
            ],
            "resourceVersion": "",
        },
        "spec": {
            "holderIdentity": NODE,
            "leaseDurationSeconds": 40,
            "renewTime": "2026-11-24T09:31:04.870222Z",
        },
    }


def test_of_a_lease_that_is_there_nothing_else_changes() -> None:
    lease = filled(form_for(NODE, {SERVED_BY: "cloud-1/c2"}, UID("second"), FOUND), "27810")
    assert lease["metadata"] == {
        "name": NODE,
        "namespace": "kube-node-lease",
        "uid": "lease-uid",
        "resourceVersion": "27810",
        "labels": {"a": "b"},
        "annotations": {"own": "note", SERVED_BY: "cloud-1/c2", BACKLOG: "7"},
        "ownerReferences": [{"kind": "Node", "uid": "first"}],
        "managedFields": [{}],  # has the API server keep none
    }
    assert lease["spec"] == {
        "holderIdentity": NODE,
        "leaseDurationSeconds": 60,
        "leaseTransitions": 3,
        "renewTime": "2026-11-24T09:31:04.870222Z",
    }


def test_people_are_told_who_serves_the_node_and_since_when() -> None:
    assert notes_of("cloud-0", MOMENT) == {
        CLOUDCORE: "cloud-0",
        CONNECTED_SINCE: "2026-11-24T09:31:04Z",
    }


def test_a_lease_whose_node_is_not_known_gets_no_owner() -> None:
    found = FoundLease({"name": NODE}, {})
    assert (
        "ownerReferences"
        not in filled(form_for(NODE, {SERVED_BY: "c"}, None, found), "1")["metadata"]
    )


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    version=st.integers(0, 2**63).map(str),
)
def test_whatever_stands_in_a_lease_stays_json(text: str, version: str) -> None:
    found = FoundLease({"labels": {text: text}}, {"strategy": text})
    lease = filled(form_for(NODE, {SERVED_BY: text}, UID(text), found), version)
    assert lease["metadata"]["labels"] == {text: text}
    assert lease["metadata"]["resourceVersion"] == version
    assert lease["spec"]["strategy"] == text


def test_an_answer_is_read() -> None:
    body = msgspec.json.encode(
        {"kind": "Lease", "metadata": FOUND.metadata, "spec": FOUND.spec, "status": {}}
    )
    assert parse_lease(body) == FOUND
    assert version_in(body) == FOUND.version == "27810"
    assert FOUND.holder == "cloud-0/old"
    assert FOUND.renewed == MOMENT - timedelta(seconds=10, microseconds=870222)
    bare = parse_lease(b'{"metadata":{"resourceVersion":"1"}}')
    assert (bare.holder, bare.renewed) == ("", None)


@pytest.mark.parametrize(
    ("holder", "version", "is_newer"),
    [
        ("cloud-1/new", "27809", True),
        ("cloud-0/old", "27809", False),  # our own name
        ("cloud-1/new", "27811", False),  # etcd was restored from a backup
    ],
)
def test_another_name_at_a_later_version_is_a_newer_connection(
    holder: str, version: str, *, is_newer: bool
) -> None:
    assert FOUND.is_newer(holder, version) is is_newer
    assert not FoundLease({"resourceVersion": "9"}, {}).is_newer(holder, "1"), "the node's own"


def test_a_renewal_never_goes_back() -> None:
    later = MOMENT + timedelta(seconds=10)
    assert advanced(later, MOMENT) == later
    assert advanced(MOMENT, None) == MOMENT
    assert advanced(MOMENT, MOMENT) == MOMENT + timedelta(microseconds=1)
    assert advanced(MOMENT, later) == later + timedelta(microseconds=1)


@pytest.mark.parametrize(
    "spec", [{}, {"renewTime": None}, {"renewTime": "soon"}, {"renewTime": "2026-11-24T09:31:04"}]
)
def test_what_is_no_time_is_no_renewal(spec: dict[str, Any]) -> None:
    assert renewal_in(spec) is None
