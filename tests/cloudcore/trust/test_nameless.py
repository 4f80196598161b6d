"""Certificates of KubeEdge before 1.16, which name no node. The ledger is a double."""

import logging
from typing import Any, cast

import pytest

from cloudcore.trust.ledger import Ledger, Listing
from cloudcore.trust.nameless import Nameless
from common.names import NodeID

NODE = NodeID("shop-1")


def certificate(organization: str = "KubeEdge", name: str = "kubeedge.io") -> dict[str, Any]:
    return {
        "subject": (
            (("countryName", "CN"),),
            (("organizationName", organization),),
            (("commonName", name),),
        )
    }


OWN = certificate("system:nodes", f"system:node:{NODE}")


@pytest.mark.parametrize("organization", ["KubeEdge", "kubeEdge"])
def test_one_that_names_nobody_is_that_of_the_node_that_shows_it(
    organization: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert Nameless().node_of(certificate(organization), [NODE]) == NODE
    (record,) = caplog.records
    assert record.__dict__["node"] == NODE


def test_one_that_names_a_node_is_that_nodes_whoever_shows_it() -> None:
    assert Nameless().node_of(OWN, ["another"]) == NODE


@pytest.mark.parametrize("said", [[], ["a", "b"], ["a/b"], [""], ["A"], ["a" * 254]])
def test_who_does_not_say_one_name_that_a_node_can_have_is_nobody(said: list[str]) -> None:
    assert Nameless().node_of(certificate(), said) is None


@pytest.mark.parametrize(
    ("organization", "name"),
    [("KubeEdge", "KubeEdge"), ("KubeEdge", "kubeedge.io "), ("Acme", "kubeedge.io")],
)
def test_another_certificate_is_nobodys(organization: str, name: str) -> None:
    assert Nameless().node_of(certificate(organization, name), [NODE]) is None


def test_who_has_shown_its_own_is_not_taken_for_somebody_without() -> None:
    nameless = Nameless()
    nameless.node_of(OWN, [NODE])
    assert nameless.node_of(certificate(), [NODE]) is None
    assert nameless.node_of(certificate(), ["shop-2"]) == "shop-2"


async def test_who_got_one_of_its_own_before_is_known() -> None:
    class Known:
        async def list_all(self) -> Listing:
            return Listing(entries={NODE: cast("Any", None)})

    nameless = Nameless()
    await nameless.load(cast("Ledger", Known()))
    assert nameless.node_of(certificate(), [NODE]) is None
