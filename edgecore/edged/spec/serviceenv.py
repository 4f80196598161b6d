"""The environment variables by which containers find services. Pure.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (getServiceEnvVarMap) and pkg/kubelet/envvars;
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

from collections.abc import Iterable, Iterator
from typing import Final

from edgecore.edged.podview import Object, spec_of

MASTER_NAMESPACE: Final = "default"
_MASTER: Final = "kubernetes"
"""The service that is the API server: every pod learns of it."""


def service_variables(pod: Object, services: Iterable[Object]) -> dict[str, str]:
    """Return the variables for the services that the pod's containers learn of.

    These are those of the pod's namespace, unless ``enableServiceLinks`` is off, and the API
    server's. Services without an address are not among them.
    """
    namespace = pod.get("metadata", {}).get("namespace", "")
    enabled = spec_of(pod).get("enableServiceLinks")
    seen: dict[str, Object] = {}
    for service in services:
        metadata = service.get("metadata", {})
        name, of = metadata.get("name", ""), metadata.get("namespace", "")
        if spec_of(service).get("clusterIP") in {None, "", "None"}:
            continue
        if of == MASTER_NAMESPACE and name == _MASTER:
            seen.setdefault(name, service)
        elif of == namespace and enabled is not False:
            seen[name] = service  # one of its own wins over the API server's
    return {key: value for name in sorted(seen) for key, value in _variables(name, seen[name])}


def _variables(name: str, service: Object) -> Iterator[tuple[str, str]]:
    prefix = _variable_name(name)
    address, ports = spec_of(service)["clusterIP"], spec_of(service).get("ports") or ()
    yield f"{prefix}_SERVICE_HOST", address
    if ports:
        yield f"{prefix}_SERVICE_PORT", str(ports[0]["port"])
        yield f"{prefix}_PORT", _url(address, ports[0])
    for port in ports:
        if port.get("name"):
            yield f"{prefix}_SERVICE_PORT_{_variable_name(port['name'])}", str(port["port"])
        protocol = _protocol(port)
        link = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        yield link, _url(address, port)
        yield f"{link}_PROTO", protocol
        yield f"{link}_PORT", str(port["port"])
        yield f"{link}_ADDR", address


def _variable_name(name: str) -> str:
    return name.upper().replace("-", "_")


def _protocol(port: Object) -> str:
    return str(port.get("protocol") or "TCP").lower()


def _url(address: str, port: Object) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{_protocol(port)}://{host}:{port['port']}"
