"""Name servers of pods: pure, nothing faked."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.runtime.spec import DNSConfig
from edgecore.edged.spec.dns import dns_config, parse_resolv_conf
from tests.edgecore.edged.world import pod_object

HOST = """
# made by hand
nameserver 192.0.2.1
search lan. . home
options timeout:1 rotate
nameserver 192.0.2.2
nameserver
"""
OF_HOST = DNSConfig(("192.0.2.1", "192.0.2.2"), ("lan", "home"), ("timeout:1", "rotate"))
OF_CLUSTER = DNSConfig(
    ("10.96.0.10",),
    ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan", "home"),
    ("ndots:5",),
)


def config(
    cluster_dns: tuple[str, ...] = ("10.96.0.10",), domain: str = "cluster.local", **spec: Any
) -> tuple[DNSConfig, list[str]]:
    made, notices = dns_config(pod_object("web", **spec), HOST, cluster_dns, domain)
    return made, [notice.reason for notice in notices]


def test_a_resolv_conf_is_read_as_resolvers_do() -> None:
    assert parse_resolv_conf(HOST) == OF_HOST
    assert parse_resolv_conf("") == DNSConfig()
    last = "search a\nsearch b c\noptions ndots:1 ndots:2\noptions ndots:3 x"
    assert parse_resolv_conf(last) == DNSConfig((), ("b", "c"), ("ndots:3", "x"))


@given(st.text())
def test_any_text_can_be_a_resolv_conf(text: str) -> None:
    parse_resolv_conf(text)


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ({}, OF_CLUSTER),
        ({"dnsPolicy": "ClusterFirst"}, OF_CLUSTER),
        ({"dnsPolicy": "Odd"}, OF_CLUSTER),
        ({"dnsPolicy": "Default"}, OF_HOST),
        ({"dnsPolicy": "None"}, DNSConfig()),
        ({"hostNetwork": True}, OF_HOST),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirst"}, OF_HOST),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, OF_CLUSTER),
    ],
)
def test_the_policy_decides_whom_to_ask(spec: dict[str, Any], made: DNSConfig) -> None:
    assert config(**spec) == (made, [])


def test_without_a_cluster_dns_the_machines_own_serves_and_that_is_said() -> None:
    assert config(cluster_dns=()) == (OF_HOST, ["MissingClusterDNS"])
    (notice,) = dns_config(pod_object("web"), "", (), "")[1]
    assert 'pod: "web_default(uid-web)"' in notice.message
    assert config(cluster_dns=(), dnsPolicy="Default") == (OF_HOST, [])


def test_without_a_cluster_domain_only_the_machines_searches_remain() -> None:
    made, _ = config(domain="")
    assert made == DNSConfig(("10.96.0.10",), ("lan", "home"), ("ndots:5",))


def test_what_the_pod_adds_is_merged_and_its_options_win() -> None:
    own = {
        "nameservers": ["10.96.0.10", "192.0.2.9"],
        "searches": ["lan", "own"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}, {"name": "x", "value": ""}],
    }
    made, _ = config(dnsConfig=own)
    assert made.servers == ("10.96.0.10", "192.0.2.9")
    assert made.searches == (*OF_CLUSTER.searches, "own")
    assert made.options == ("ndots:2", "edns0", "x")


def test_more_than_three_servers_are_cut_and_that_is_said() -> None:
    own = {"nameservers": ["192.0.2.3", "192.0.2.4"]}
    pod = pod_object("web", dnsPolicy="Default", dnsConfig=own)
    made, (notice,) = dns_config(pod, HOST, (), "")
    assert made.servers == ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    assert notice.reason == "DNSConfigForming"
    assert notice.message.endswith("the applied nameserver line is: 192.0.2.1 192.0.2.2 192.0.2.3")


@pytest.mark.parametrize(
    ("searches", "kept"),
    [
        ([f"d{i}" for i in range(33)], 32),
        (["a" * 254, "b"], 1),
        ([f"{i:02}" + "x" * 198 for i in range(11)], 10),  # 10 x 200 and 9 spaces: 2009
        ([f"{i:02}" + "x" * 98 for i in range(21)], 20),  # 20 x 100 and 19 spaces: 2019
    ],
)
def test_searches_that_resolvers_do_not_bear_are_cut(searches: list[str], kept: int) -> None:
    pod = pod_object("web", dnsPolicy="None", dnsConfig={"searches": searches})
    made, (notice,) = dns_config(pod, "", (), "")
    assert len(made.searches) == kept
    assert notice.message.startswith("Search Line limits were exceeded, some search paths have")
