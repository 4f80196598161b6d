"""The table of what is served. Pure."""

import pytest

from cloudcore.edgecontroller.handlers.table import TABLE, Places, order_type
from common.names import Operation, ResourceType


@pytest.mark.parametrize(
    ("operation", "resource_type"),
    [
        (Operation.INSERT, "node"),
        (Operation.PATCH, "nodepatch"),
        (Operation.PATCH, "podpatch"),
        (Operation.INSERT, "pod"),
        (Operation.QUERY, "lease"),
        (Operation.INSERT, "lease"),
        (Operation.UPDATE, "lease"),
        (Operation.INSERT, "certificatesigningrequest"),
    ],
)
def test_writes_are_wrapped_as_kubeedge_wraps_them(
    operation: Operation, resource_type: str
) -> None:
    assert TABLE[operation, resource_type].is_wrapped


@pytest.mark.parametrize(
    "resource_type",
    ["configmap", "secret", "node", "pod", "serviceaccounttoken", "persistentvolume", "ca.crt"],
)
def test_what_is_read_is_bare(resource_type: str) -> None:
    assert not TABLE[Operation.QUERY, resource_type].is_wrapped


def test_leases_have_places_of_their_own() -> None:
    leases = [entry for (_, kind), entry in TABLE.items() if kind == ResourceType.LEASE]
    assert {entry.places for entry in leases} == {Places.LEASES}
    others = [entry for (_, kind), entry in TABLE.items() if kind != ResourceType.LEASE]
    assert Places.LEASES not in {entry.places for entry in others}


def test_what_changes_one_object_keeps_its_order() -> None:
    assert order_type("podpatch") == order_type("podstatus") == order_type("pod") == "pod"
    assert order_type("nodepatch") == order_type("nodestatus") == "node"
    assert order_type("configmap") == "configmap"
