"""Who may connect. Pure."""

from http import HTTPStatus

import pytest

from cloudcore.cloudhub.handshake import Handshake, Terms, judge, select_protocol
from common.capabilities import ALL, HEADER, NONE
from common.names import (
    AUTHORITY_HEADER,
    CLUSTER_HEADER,
    VERSION_HEADER,
    NodeID,
    PeerProtocol,
)

NODE = NodeID("n1")


def asked(
    certificate_node: NodeID | None = NODE,
    node_ids: tuple[str, ...] = (NODE,),
    uses: tuple[str, ...] = ("msg",),
    *,
    is_connected: bool = False,
    is_edge: bool = True,
    has_room: bool = True,
) -> str:
    refusal = judge(
        Handshake(certificate_node, node_ids, uses, is_connected),
        is_edge=is_edge,
        has_room=has_room,
    )
    if refusal is None:
        return ""
    assert refusal.status >= HTTPStatus.BAD_REQUEST
    assert len(refusal.text) > 20, "it says what to do"
    return refusal.reason


def test_a_node_with_its_own_certificate_may_connect() -> None:
    assert asked() == ""


def test_kubeedge_repeats_a_header_with_each_attempt_to_connect() -> None:
    assert asked(uses=("msg", "msg", "msg")) == ""


@pytest.mark.parametrize("uses", [(), ("str",), ("msg", "str"), ("MSG",)])
def test_the_use_of_the_connection_must_be_stated(uses: tuple[str, ...]) -> None:
    assert asked(uses=uses) == "connection_use"


@pytest.mark.parametrize("node_ids", [(), ("n2",), ("n1", "n2"), ("",)])
def test_the_identity_is_the_certificates_never_the_headers(node_ids: tuple[str, ...]) -> None:
    assert asked(node_ids=node_ids) == "node_id_mismatch"


def test_who_is_no_node_does_not_connect() -> None:
    assert asked(None) == "not_a_node"


def test_a_node_that_is_no_edge_node_does_not_connect() -> None:
    assert asked(is_edge=False) == "not_an_edge_node"


def test_a_certificate_that_was_revoked_opens_no_door() -> None:
    refusal = judge(
        Handshake(NODE, (), (), is_connected=True, is_revoked=True), is_edge=True, has_room=True
    )
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (HTTPStatus.FORBIDDEN, "revoked")
    assert f"cloudcore token create --node-name {NODE}" in refusal.text


def test_a_full_hub_still_takes_back_a_node_that_it_has() -> None:
    assert asked(has_room=False) == "node_limit"
    assert asked(has_room=False, is_connected=True) == ""


def test_our_own_protocol_is_spoken_where_it_is_offered() -> None:
    assert select_protocol([]) is PeerProtocol.KUBEEDGE
    assert select_protocol(["chat", "cloudedge.v9"]) is PeerProtocol.KUBEEDGE
    assert select_protocol(["chat", "cloudedge.v1"]) is PeerProtocol.CLOUDEDGE_V1


def test_the_response_says_what_holds_and_which_cluster_this_is() -> None:
    said = dict(Terms(ALL, "u1").headers(ALL))
    assert said == {HEADER: "acks, beats, chunks, deflate, digest", CLUSTER_HEADER: "u1"}
    assert dict(Terms(ALL, "u1").headers(NONE)) == {CLUSTER_HEADER: "u1"}
    assert dict(Terms(NONE, version="1.0").headers(NONE)) == {VERSION_HEADER: "1.0"}


def test_the_response_names_the_authority_as_it_is_at_that_moment() -> None:
    signing = ["aa"]
    terms = Terms(NONE, authority=lambda: signing[0])
    assert dict(terms.headers(NONE)) == {AUTHORITY_HEADER: "aa"}
    signing[0] = "bb"
    assert dict(terms.headers(NONE)) == {AUTHORITY_HEADER: "bb"}


def test_where_nothing_holds_and_the_cluster_is_unknown_nothing_is_said() -> None:
    assert dict(Terms(ALL).headers(NONE)) == {}
