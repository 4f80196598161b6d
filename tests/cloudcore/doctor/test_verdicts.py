"""What a doctor says of what it has seen. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from cloudcore.commands.nodestates import NodeState
from cloudcore.doctor import verdicts
from cloudcore.trust.authorities import Authorities
from common import issuing
from common.checks import Verdict
from common.names import NodeID

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
STATE = NodeState(
    node=NodeID("n1"),
    ready="True",
    cloudcore="cloud-0",
    connected_since=NOW,
    offline_since=None,
    backlog=0,
    autonomy="",
    certificate_until=NOW + timedelta(days=300),
    is_revoked=False,
    version="v1.36.3-cloudedge-0.1.0",
)
HOSTS = frozenset({"edge.example.org", "192.0.2.1"})


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("v1.30.0", OK),
        ("v1.36.3+k3s1", OK),
        ("v1.29.9", WARN),
        ("v1.38.0", WARN),
        ("v2.0.0", WARN),
        ("", WARN),
    ],
)
def test_a_kubernetes_that_was_not_tried_is_doubtful(version: str, verdict: Verdict) -> None:
    assert verdicts.api_version(version).verdict is verdict


@pytest.mark.parametrize(
    ("apart_s", "took_s", "verdict"),
    [(0.9, 0, OK), (-3, 0, OK), (9, 5, OK), (9, 0, WARN), (-40, 0, WARN), (90, 0, FAIL)],
)
def test_clocks_are_judged_by_what_can_be_known_of_them(
    apart_s: float, took_s: float, verdict: Verdict
) -> None:
    there = NOW + timedelta(seconds=apart_s)
    finding = verdicts.clock(NOW, there, timedelta(seconds=took_s))
    assert finding.verdict is verdict
    assert bool(finding.fix) is (verdict is not OK)


def test_missing_rights_are_named_with_who_lacks_them() -> None:
    assert verdicts.rights("me", [], 20).verdict is OK
    finding = verdicts.rights("me", ["patch pods"], 20)
    assert finding.verdict is FAIL
    assert finding.found == "me may not: patch pods"
    assert "kubectl apply -k" in finding.fix


def test_of_many_names_the_first_and_the_number_are_shown() -> None:
    assert verdicts.names(["a", "b"]) == "a, b"
    shown = verdicts.names([f"n{number}" for number in range(1000)])
    assert shown == "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, ... (1000)"


def test_kinds_of_kubeedge_are_noted_and_do_no_harm() -> None:
    assert verdicts.kubeedge([]).verdict is OK
    finding = verdicts.kubeedge(["devices.devices.kubeedge.io"])
    assert (finding.verdict, "devices.devices.kubeedge.io" in finding.found) == (OK, True)


def test_an_authority_must_be_there_and_last() -> None:
    made = issuing.new_authority(NOW)
    found = Authorities(made)
    until = made.certificate.not_valid_after_utc
    assert [one.verdict for one in verdicts.authority(None, NOW)] == [FAIL]
    assert [one.verdict for one in verdicts.authority(found, NOW)] == [OK]
    assert [one.verdict for one in verdicts.authority(found, until - timedelta(days=9))] == [WARN]
    assert [one.verdict for one in verdicts.authority(found, until)] == [FAIL]


def test_a_replacement_that_was_not_ended_is_told() -> None:
    both = Authorities(issuing.next_authority(NOW), issuing.new_authority(NOW), b"cross")
    first, second = verdicts.authority(both, NOW)
    assert (first.verdict, second.verdict) == (OK, WARN)
    assert "cloudcore ca finish" in second.fix


@pytest.mark.parametrize(
    ("address", "left", "is_signed", "verdict", "words"),
    [
        ("192.0.2.1", timedelta(days=90), True, OK, "good until"),
        ("192.0.2.1", timedelta(days=3), True, WARN, "ends at"),
        ("192.0.2.1", timedelta(0), True, FAIL, "has ended"),
        ("192.0.2.9", timedelta(days=90), True, FAIL, "not good for 192.0.2.9, but for 192.0.2.1,"),
        ("192.0.2.1", timedelta(days=90), False, FAIL, "none of this cluster's authorities"),
    ],
)
def test_a_server_must_show_a_certificate_for_the_address_that_edges_use(
    *, address: str, left: timedelta, is_signed: bool, verdict: Verdict, words: str
) -> None:
    finding = verdicts.server_certificate(address, HOSTS, NOW + left, NOW, is_signed=is_signed)
    assert (finding.name, finding.verdict) == (f"certificate-of {address}", verdict)
    assert words in finding.found
    assert bool(finding.fix) is (verdict is not OK)


def test_a_port_that_is_closed_says_where_to_look() -> None:
    assert verdicts.port("h", 10000, "websocket", "").verdict is OK
    finding = verdicts.port("h", 10002, "https", "Connection refused")
    assert (finding.name, finding.found) == ("https-port", "h:10002: Connection refused")
    assert "firewall" in finding.fix


def test_certificates_that_end_soon_are_named_but_not_those_that_are_revoked() -> None:
    soon = replace(STATE, node=NodeID("n2"), certificate_until=NOW + timedelta(days=29))
    revoked = replace(soon, node=NodeID("n3"), is_revoked=True)
    none = replace(soon, node=NodeID("n4"), certificate_until=None)
    assert verdicts.node_certificates([STATE, revoked, none], NOW).verdict is OK
    finding = verdicts.node_certificates([STATE, soon, revoked], NOW)
    assert (finding.verdict, finding.found) == (WARN, "end within 30 days: n2")


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("v1.36.3-cloudedge-0.1.0", OK),
        ("v1.36.3-cloudedge-0.2.0", OK),
        ("v1.36.3-cloudedge-0.3.0", WARN),
        ("v1.36.3-cloudedge-1.1.0", WARN),
        ("v1.33.1-kubeedge-v1.23.0", OK),
        ("v1.32.9-kubeedge-v1.22.0", WARN),
        ("v1.37.0", WARN),
        ("", OK),
    ],
)
def test_versions_may_be_a_little_apart(version: str, verdict: Verdict) -> None:
    states = [replace(STATE, version=version)]
    assert verdicts.node_versions(states, "v1.36.3", "0.1.0").verdict is verdict


def test_a_version_that_nobody_can_read_is_judged_by_nobody() -> None:
    assert verdicts.node_versions([STATE], "unknown", "unknown").verdict is OK


def pod(name: str, node: str, owner: str, kind: str = "DaemonSet") -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "kube-system",
            "ownerReferences": [{"kind": kind, "name": owner}],
        },
        "spec": {"nodeName": node},
    }


def test_a_network_daemonset_on_an_edge_is_named_once() -> None:
    edges = frozenset({"e1", "e2"})
    fine = [
        pod("a", "e1", "my-agent"),
        pod("b", "cloud", "kube-proxy"),
        pod("c", "e1", "kube-proxy", "ReplicaSet"),
        {"metadata": {"name": "d", "namespace": "default"}, "spec": {}},
    ]
    assert verdicts.cloud_pods(fine, edges).verdict is OK
    finding = verdicts.cloud_pods(
        [*fine, pod("e", "e1", "kube-proxy"), pod("f", "e2", "kube-proxy")], edges
    )
    assert (finding.verdict, finding.found) == (
        WARN,
        "bound to edge nodes: kube-system/kube-proxy",
    )


def test_few_files_are_few_nodes() -> None:
    assert verdicts.descriptors(1024).verdict is WARN
    assert verdicts.descriptors(1_048_576).verdict is OK


def test_what_could_not_be_looked_at_is_no_failure() -> None:
    assert verdicts.unknown("rights", "forbidden").verdict is WARN
