"""Variables for services: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.spec.serviceenv import service_variables
from tests.edgecore.edged.world import pod_object


def service(
    name: str, ip: str | None, *ports: dict[str, Any], namespace: str = "default"
) -> dict[str, Any]:
    spec = {"clusterIP": ip, "ports": list(ports)}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


API = service("kubernetes", "10.96.0.1", {"name": "https", "port": 443, "protocol": "TCP"})


def pod(namespace: str = "default", **spec: Any) -> dict[str, Any]:
    made = pod_object("web", **spec)
    made["metadata"]["namespace"] = namespace
    return made


def test_a_service_has_its_own_variables_and_those_of_dockers_links() -> None:
    ports = {"name": "http", "port": 80}, {"name": "my-dns", "port": 53, "protocol": "UDP"}
    assert service_variables(pod(), [service("my-db", "10.96.0.9", *ports)]) == {
        "MY_DB_SERVICE_HOST": "10.96.0.9",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_HTTP": "80",
        "MY_DB_SERVICE_PORT_MY_DNS": "53",
        "MY_DB_PORT": "tcp://10.96.0.9:80",
        "MY_DB_PORT_80_TCP": "tcp://10.96.0.9:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "10.96.0.9",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.9:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.9",
    }


def test_an_address_of_ipv6_stands_in_brackets_in_a_url() -> None:
    made = service_variables(pod(), [service("a", "fd00::1", {"port": 80})])
    assert (made["A_PORT"], made["A_SERVICE_HOST"]) == ("tcp://[fd00::1]:80", "fd00::1")


@pytest.mark.parametrize("ip", [None, "", "None"])
def test_a_service_without_an_address_is_left_out(ip: str | None) -> None:
    assert service_variables(pod(), [service("a", ip, {"port": 80})]) == {}


def test_a_service_without_ports_has_an_address_only() -> None:
    assert service_variables(pod(), [service("a", "10.0.0.1")]) == {"A_SERVICE_HOST": "10.0.0.1"}


@pytest.mark.parametrize(
    ("namespace", "enabled", "hosts"),
    [
        ("default", None, {"KUBERNETES": "10.96.0.1", "A": "10.0.0.1"}),
        ("default", False, {"KUBERNETES": "10.96.0.1"}),
        ("other", None, {"KUBERNETES": "10.96.0.1", "B": "10.0.0.2"}),
        ("other", True, {"KUBERNETES": "10.96.0.1", "B": "10.0.0.2"}),
        ("other", False, {"KUBERNETES": "10.96.0.1"}),
        ("shadow", None, {"KUBERNETES": "10.0.0.3"}),
        ("shadow", False, {"KUBERNETES": "10.96.0.1"}),
    ],
)
def test_a_pod_learns_of_the_api_server_and_its_own_namespace(
    namespace: str, *, enabled: bool | None, hosts: dict[str, str]
) -> None:
    services = [
        service("kubernetes", "10.0.0.3", {"port": 1}, namespace="shadow"),
        API,
        service("a", "10.0.0.1", {"port": 1}),
        service("b", "10.0.0.2", {"port": 1}, namespace="other"),
    ]
    for order in (services, services[::-1]):
        made = service_variables(pod(namespace, enableServiceLinks=enabled), order)
        found = {k.removesuffix("_SERVICE_HOST"): v for k, v in made.items() if k.endswith("_HOST")}
        assert found == hosts
