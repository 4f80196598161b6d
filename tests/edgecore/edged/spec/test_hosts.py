"""Names and hosts files of pods: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.spec.hosts import PodName, hosts_file, kernel_hostname, pod_name
from edgecore.edged.spec.refusals import SpecError
from tests.edgecore.edged.world import pod_object

DOMAIN = "cluster.local"
LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
ALIASES = [
    {"ip": "192.0.2.1", "hostnames": ["a", "b.example"]},
    {"ip": "192.0.2.2", "hostnames": ["c"]},
]


def entries(spec: dict[str, Any], *ips: str) -> str:
    text = hosts_file(pod_object("web", **spec), ips, DOMAIN, "192.0.2.7\tnode\n").decode()
    assert text.endswith("\n")
    return "".join(f"{line}\n" for line in text.splitlines() if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({}, PodName("web", "")),
        ({"hostname": "h"}, PodName("h", "")),
        ({"subdomain": "s"}, PodName("web", "s.default.svc.cluster.local")),
        ({"hostname": "h", "subdomain": "s"}, PodName("h", "s.default.svc.cluster.local")),
        ({"hostnameOverride": "a.b", "hostname": "h", "subdomain": "s"}, PodName("a.b", "")),
    ],
)
def test_a_pod_is_called_as_its_spec_says(spec: dict[str, Any], name: PodName) -> None:
    assert pod_name(pod_object("web", **spec), DOMAIN) == name


@pytest.mark.parametrize(
    ("long", "cut"), [("x" * 64, "x" * 63), ("x" * 61 + "-.y", "x" * 61), ("x" * 63, "x" * 63)]
)
def test_a_long_name_is_cut_where_a_name_can_end(long: str, cut: str) -> None:
    assert pod_name(pod_object(long), DOMAIN).hostname == cut


@pytest.mark.parametrize(
    "spec", [{"hostname": "A"}, {"subdomain": "a.b"}, {"hostnameOverride": "a..b"}]
)
def test_what_cannot_be_a_name_is_refused(spec: dict[str, str]) -> None:
    with pytest.raises(SpecError, match="cannot be a DNS name"):
        pod_name(pod_object("web", **spec), DOMAIN)


@pytest.mark.parametrize(
    ("spec", "hostname"),
    [
        ({}, "web"),
        ({"hostNetwork": True}, ""),
        ({"subdomain": "s"}, "web"),
        ({"setHostnameAsFQDN": True}, "web"),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, "web.s.default.svc.cluster.local"),
    ],
)
def test_the_kernel_is_told_the_short_name_unless_the_pod_wants_the_whole(
    spec: dict[str, Any], hostname: str
) -> None:
    assert kernel_hostname(pod_object("web", **spec), DOMAIN) == hostname


def test_a_whole_name_that_the_kernel_does_not_bear_is_refused() -> None:
    spec: dict[str, Any] = {"hostname": "h" * 36, "subdomain": "s", "setHostnameAsFQDN": True}
    assert len(kernel_hostname(pod_object("web", **spec), DOMAIN)) == 64  # as long as may be
    spec["hostname"] = "h" * 37
    with pytest.raises(SpecError, match=r"is too long \(64 characters is the max, 65 char"):
        kernel_hostname(pod_object("web", **spec), DOMAIN)


def test_a_pods_hosts_file_has_its_addresses_and_aliases() -> None:
    assert entries({}, "10.0.0.2", "fd00::2") == LOCAL + "10.0.0.2\tweb\nfd00::2\tweb\n"
    assert entries({"subdomain": "s", "hostAliases": ALIASES}, "10.0.0.2") == (
        LOCAL + "10.0.0.2\tweb.s.default.svc.cluster.local\tweb\n"
        "192.0.2.1\ta\tb.example\n192.0.2.2\tc\n"
    )


def test_on_the_machines_network_its_own_hosts_file_stands_before_the_aliases() -> None:
    spec = {"hostNetwork": True, "hostAliases": ALIASES[1:]}
    assert entries(spec) == "192.0.2.7\tnode\n192.0.2.2\tc\n"
