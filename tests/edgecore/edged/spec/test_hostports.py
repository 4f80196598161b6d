"""Ports of the machine: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.runtime.spec import PortMapping
from edgecore.edged.spec.hostports import host_ports, port_conflict, port_mappings
from tests.edgecore.edged.world import container, pod_object

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a pod's spec says; nothing binds


def with_port(name: str = "web", **port: Any) -> dict[str, Any]:
    return pod_object(name, containers=[container("c", ports=[{"containerPort": 80} | port])])


def test_only_ports_of_the_machine_count_and_sidecars_have_them_too() -> None:
    ports = [{"containerPort": 1}, {"containerPort": 2, "hostPort": 20, "protocol": "UDP"}]
    taken = [{"containerPort": 3, "hostPort": 30, "hostIP": "192.0.2.7"}]
    pod = pod_object(
        "web",
        containers=[container("c", ports=ports)],
        initContainers=[
            container("i", ports=[{"containerPort": 4, "hostPort": 40}]),
            container("s", ports=taken, restartPolicy="Always"),
        ],
    )
    wanted = (PortMapping("TCP", 3, 30, "192.0.2.7"), PortMapping("UDP", 2, 20))
    assert host_ports(pod) == port_mappings(pod) == wanted


def test_on_the_machines_network_every_port_is_taken_and_none_is_mapped() -> None:
    pod = with_port()
    assert host_ports(pod) == ()
    pod["spec"]["hostNetwork"] = True
    assert (host_ports(pod), port_mappings(pod)) == ((PortMapping("TCP", 80, 80),), ())


def test_the_same_port_twice_is_mapped_once() -> None:
    pod = with_port(hostPort=8080)
    pod["spec"]["containers"] *= 2
    assert port_mappings(pod) == (PortMapping("TCP", 80, 8080),)


@pytest.mark.parametrize(
    ("mine", "theirs", "conflict"),
    [
        ({"hostPort": 80}, {"hostPort": 80}, "TCP port 80 is in use by default/old"),
        ({"hostPort": 80}, {"hostPort": 81}, ""),
        ({"hostPort": 80}, {"hostPort": 80, "protocol": "UDP"}, ""),
        ({"hostPort": 80}, {}, ""),
        ({}, {"hostPort": 80}, ""),
        ({"hostPort": 80, "hostIP": "192.0.2.1"}, {"hostPort": 80, "hostIP": "192.0.2.2"}, ""),
        (
            {"hostPort": 80, "hostIP": "192.0.2.1"},
            {"hostPort": 80, "hostIP": "192.0.2.1"},
            "TCP port 80 is in use by default/old",
        ),
        (
            {"hostPort": 80, "hostIP": "192.0.2.1"},
            {"hostPort": 80, "hostIP": EVERYWHERE},
            "TCP port 80 is in use by default/old",
        ),
    ],
)
def test_a_port_belongs_to_one_pod(mine: Any, theirs: Any, conflict: str) -> None:
    others = [pod_object("idle"), with_port("old", **theirs)]
    assert port_conflict(with_port(**mine), others) == conflict
