"""Whose certificates and requests are. Real: cryptography."""

from datetime import UTC, datetime

import pytest

from common import issuing, pki, subjects
from common.errors import CertificateError
from common.names import NodeID, node_user
from tests.common.forging import ANOTHER_VERSION, with_bytes

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NODE = NodeID("edge-1.site.example")


@pytest.fixture(scope="module")
def authority() -> issuing.Authority:
    return issuing.new_authority(NOW)


def test_a_request_says_whose_key_it_is_for() -> None:
    key = pki.new_key()
    request = subjects.read_request(subjects.new_csr(key, NODE))
    assert (request.key, request.node, request.is_nameless) == (key.public_key(), NODE, False)


def test_what_was_made_up_to_look_like_a_request_or_certificate_is_known_as_such(
    authority: issuing.Authority,
) -> None:
    request = subjects.new_csr(pki.new_key(), NODE)
    name = f"{len(node_user(NODE)):02x}" + node_user(NODE).encode().hex()
    strange = {
        "version": ("02010030", "02010c30"),
        "BitString": (f"0c{name}", f"03{name[:2]}00{name[4:]}"),  # a name that is no text
    }
    for words, (old, new) in strange.items():
        with pytest.raises(CertificateError, match=words):
            subjects.read_request(with_bytes(request, old, new))
    issued = issuing.issue_node(authority, request, NODE, NOW).der
    assert subjects.node_of_certificate(issued) == NODE
    assert subjects.node_of_certificate(with_bytes(issued, *strange["BitString"])) is None
    assert subjects.node_of_certificate(with_bytes(issued, *ANOTHER_VERSION)) is None


def test_what_is_no_request_is_named_as_such(authority: issuing.Authority) -> None:
    good = subjects.new_csr(pki.new_key(), NODE)
    for bad in (b"", b"nonsense", good[:-1], authority.der):
        with pytest.raises(CertificateError):
            subjects.read_request(bad)


def test_a_request_whose_signature_is_another_ones_is_refused() -> None:
    forged = bytearray(subjects.new_csr(pki.new_key(), NODE))
    forged[-3] ^= 1
    with pytest.raises(CertificateError, match="its own EC key"):
        subjects.read_request(bytes(forged))


def test_a_name_longer_than_x520_allows_is_still_a_nodes_name(authority: issuing.Authority) -> None:
    node = NodeID("n" * 63 + "." + "m" * 63)
    issued = issuing.issue_node(authority, subjects.new_csr(pki.new_key(), node), node, NOW)
    assert subjects.node_of_certificate(issued.der) == node


def test_the_dict_of_getpeercert_tells_the_node() -> None:
    subject = ((("organizationName", "system:nodes"),), (("commonName", f"system:node:{NODE}"),))
    assert subjects.node_of_certificate({"subject": subject}) == NODE
    assert subjects.node_of_certificate({"subject": (*subject, subject[1])}) is None
    assert subjects.node_of_certificate({"subject": subject[:1]}) is None
    assert subjects.node_of_certificate({}) is None
    assert subjects.node_of_certificate(b"nonsense") is None
    bare = ((("organizationName", "system:nodes"),), (("commonName", "system:node:"),))
    assert subjects.node_of_certificate({"subject": bare}) is None


@pytest.mark.parametrize("organization", ["KubeEdge", "kubeEdge"])
def test_a_certificate_of_kubeedge_before_1_16_names_no_node(organization: str) -> None:
    peercert = {
        "subject": ((("organizationName", organization),), (("commonName", "kubeedge.io"),))
    }
    assert subjects.is_nameless(peercert)
    assert subjects.node_of_certificate(peercert) is None
    assert not subjects.is_nameless({})
